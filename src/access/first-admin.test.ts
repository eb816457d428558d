import assert from 'node:assert/strict';
import { test } from 'node:test';
import { basic, identify, openAccessWorld, people } from '../../test/harness/access-world.ts';
import { ensureFirstAdmin } from './first-admin.ts';

test('ensureFirstAdmin, an empty ledger, makes an administrator once, who can log in', async () => {
  await using world = await openAccessWorld();
  const made = await Promise.all([ensureFirstAdmin(world), ensureFirstAdmin(world)]);
  const admins = made.filter((admin) => admin !== null);
  assert.equal(admins.length, 1);
  assert.equal(await ensureFirstAdmin(world), null);
  const password = admins[0]?.password ?? '';
  assert.equal(password.length, 24);
  assert.match((await world.meta.read.access.user('admin'))?.passwordHash ?? '', /^\$argon2id\$/);
  const access = await world.open({ people: people({}) });
  const { principal } = await identify(access, basic('admin', password));
  assert.deepEqual([principal.name, principal.administrator], ['admin', true]);
});

test('ensureFirstAdmin, configured users, makes nobody', async () => {
  await using world = await openAccessWorld();
  assert.equal(await ensureFirstAdmin({ ...world, configured: true }), null);
  assert.equal(await world.meta.read.access.countUsers(), 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash as bcryptHash } from 'bcryptjs';
import { ADDRESS, basic, identify, openAccessWorld, people } from '../../test/harness/access-world.ts';
import type { Access } from './open-access.ts';
import { hashPassword } from './password-hash.ts';

const OTHER_ADDRESS = '198.51.100.7';

async function outcome(
  access: Access,
  name: string,
  password: string,
  address: string = ADDRESS,
): Promise<string> {
  try {
    await identify(access, basic(name, password), address);
    return 'ok';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('login, the same pair again, costs no second slow hash; a wrong one costs one each', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  for (let request = 0; request < 20; request += 1)
    assert.equal(await outcome(access, 'root', 'rootpw'), 'ok');
  assert.equal(access.costs.slowHashes(), 1);
  assert.equal(await outcome(access, 'root', 'wrong'), 'UNAUTHORIZED');
  assert.equal(await outcome(access, 'root', 'wrong'), 'UNAUTHORIZED');
  assert.equal(access.costs.slowHashes(), 3);
  assert.deepEqual(world.logins, ['ok', 'wrong', 'wrong']);
});

test('login, an unknown user, costs a slow hash as a known one does', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  await outcome(access, 'stranger', 'x');
  assert.equal(access.costs.slowHashes(), 1);
});

test('login, argon2, bcrypt, htpasswd and the ledger, all know their passwords', async () => {
  await using world = await openAccessWorld();
  const bcrypt = (await bcryptHash('bcryptpw', 4)).replace('$2b$', '$2y$');
  const configured = people({ argon: [await hashPassword('argonpw'), null], crypt: [bcrypt, null] });
  const access = await world.open({
    people: { ...configured, htpasswd: [{ name: 'listed', hash: bcrypt }] },
  });
  const row = { name: 'kept', passwordHash: await hashPassword('keptpw'), administrator: true, changedAt: 1 };
  await world.meta.transaction((tx) => tx.access.putUser(row, 1));
  const cases = { argon: 'argonpw', crypt: 'bcryptpw', listed: 'bcryptpw', kept: 'keptpw' };
  for (const [name, password] of Object.entries(cases)) {
    assert.equal(await outcome(access, name, password), 'ok', name);
    assert.equal(await outcome(access, name, `${password}x`), 'UNAUTHORIZED', name);
  }
  const listed = (await identify(access, basic('listed', 'bcryptpw'))).principal;
  assert.equal(listed.administrator, false);
});

test('login, a hash sent as the password, is wrong', async () => {
  await using world = await openAccessWorld();
  const hash = await hashPassword('secret');
  const access = await world.open({ people: people({ ann: [hash, null] }) });
  assert.equal(await outcome(access, 'ann', hash), 'UNAUTHORIZED');
});

test('login, another password in the ledger, holds at once in all processes', async () => {
  await using world = await openAccessWorld();
  const processes = [await world.open(), await world.open()];
  const put = async (password: string): Promise<void> => {
    const row = {
      name: 'kept',
      passwordHash: await hashPassword(password),
      administrator: true,
      changedAt: 1,
    };
    await world.meta.transaction((tx) => tx.access.putUser(row, 1));
  };
  await put('before');
  for (const access of processes) assert.equal(await outcome(access, 'kept', 'before'), 'ok');
  await put('after');
  for (const access of processes) {
    assert.equal(await outcome(access, 'kept', 'before'), 'UNAUTHORIZED');
    assert.equal(await outcome(access, 'kept', 'after'), 'ok');
  }
});

test('login, many wrong passwords, is slowed in all processes, longer each time, and ends', async () => {
  await using world = await openAccessWorld();
  const [one, two] = [await world.open(), await world.open()];
  for (let failure = 0; failure < 6; failure += 1)
    assert.equal(await outcome(one, 'dev', 'x'), 'UNAUTHORIZED');
  for (const access of [one, two]) {
    assert.equal(await outcome(access, 'dev', 'x'), 'TOOMANYREQUESTS');
    assert.equal(await outcome(access, 'dev', 'devpw'), 'TOOMANYREQUESTS');
  }
  const waits: number[] = [];
  for (let failure = 0; failure < 10; failure += 1) {
    const seconds = await retryAfter(one);
    waits.push(seconds);
    world.clock.at += seconds * 1000;
    assert.equal(await outcome(two, 'dev', 'x'), 'UNAUTHORIZED');
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
  world.clock.at += 60_000;
  assert.equal(await outcome(one, 'dev', 'devpw'), 'ok');
});

async function retryAfter(access: Access): Promise<number> {
  try {
    await identify(access, basic('dev', 'x'));
  } catch (error) {
    return (error as { retryAfterSeconds: number | null }).retryAfterSeconds ?? 0;
  }
  return 0;
}

test('login, an account under attack, is open to its owner elsewhere and to who logged in before', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  assert.equal(await outcome(access, 'dev', 'devpw'), 'ok');
  for (let failure = 0; failure < 8; failure += 1) await outcome(access, 'dev', 'x');
  assert.equal(await outcome(access, 'dev', 'x'), 'TOOMANYREQUESTS');
  assert.equal(await outcome(access, 'dev', 'devpw'), 'ok', 'remembered as right: never slowed');
  assert.equal(await outcome(access, 'dev', 'devpw', OTHER_ADDRESS), 'ok', 'another address');
});

test('login, a job with an old password beside a right one, does not lock that out of a process that just started', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  assert.equal(await outcome(access, 'dev', 'devpw'), 'ok');
  for (let failure = 0; failure < 8; failure += 1) await outcome(access, 'dev', 'old');
  const started = await world.open();
  // Let through once, to see that it is wrong; it costs the right one nothing after that.
  assert.equal(await outcome(started, 'dev', 'old'), 'UNAUTHORIZED');
  for (let failure = 0; failure < 20; failure += 1)
    assert.equal(await outcome(started, 'dev', 'old'), 'TOOMANYREQUESTS');
  assert.equal(await outcome(started, 'dev', 'devpw'), 'ok');
  assert.equal(await outcome(started, 'dev', 'devpw', OTHER_ADDRESS), 'ok');
});

test('login, ever other passwords from where the account is known, has few checks while it is slowed', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  assert.equal(await outcome(access, 'dev', 'devpw'), 'ok');
  const guess = async (from: number, count: number): Promise<string[]> => {
    const outcomes: string[] = [];
    for (let n = from; n < from + count; n += 1) outcomes.push(await outcome(access, 'dev', `guess${n}`));
    return outcomes.map((one) => (one === 'UNAUTHORIZED' ? 'checked' : 'slowed'));
  };
  const count = (outcomes: string[]): number => outcomes.filter((one) => one === 'checked').length;
  assert.equal(count(await guess(0, 100)), 6 + 5, 'the free ones and the spare ones');
  world.clock.at += 10_000;
  assert.equal(count(await guess(100, 100)), 1);
});

test('login, guessing over many accounts, slows the address but not an account known there', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  assert.equal(await outcome(access, 'dev', 'devpw'), 'ok');
  await Promise.all(Array.from({ length: 31 }, (_, n) => outcome(access, `guess${n}`, 'x')));
  assert.equal(await outcome(access, 'reader', 'readerpw'), 'TOOMANYREQUESTS');
  const restarted = await world.open();
  assert.equal(await outcome(restarted, 'dev', 'devpw'), 'ok');
  assert.equal(await outcome(restarted, 'reader', 'readerpw', OTHER_ADDRESS), 'ok');
});

test('login, guessing from many addresses, slows the account but not where it logged in before', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  assert.equal(await outcome(access, 'dev', 'devpw'), 'ok');
  for (let address = 1; address <= 51; address += 1)
    await outcome(access, 'dev', 'x', `203.0.113.${address}`);
  const restarted = await world.open();
  assert.equal(await outcome(restarted, 'dev', 'devpw', '203.0.113.200'), 'TOOMANYREQUESTS');
  assert.equal(await outcome(restarted, 'dev', 'devpw'), 'ok');
});

test('login, a burst of the same pair from many places before anything is remembered, costs one slow hash', async () => {
  await using world = await openAccessWorld();
  const access = await world.open({ passwordChecksMax: 1 });
  const burst = Array.from({ length: 90 }, (_, n) =>
    outcome(access, 'root', 'rootpw', `203.0.113.${n % 30}`),
  );
  assert.deepEqual([...new Set(await Promise.all(burst))], ['ok']);
  assert.equal(access.costs.slowHashes(), 1);
});

test('login, a flood at once, is answered with TOOMANYREQUESTS beyond the queue', async () => {
  await using world = await openAccessWorld();
  const access = await world.open({ passwordChecksMax: 1 });
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, n) => outcome(access, `user${n}`, 'x', `198.51.100.${n}`)),
  );
  assert.deepEqual([...new Set(answers)].sort(), ['TOOMANYREQUESTS', 'UNAUTHORIZED']);
  assert.equal(access.costs.slowHashes(), 33);
  assert.equal(await outcome(access, 'root', 'rootpw'), 'ok', 'and then it goes on');
});

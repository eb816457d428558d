import assert from 'node:assert/strict';
import type { RefreshToken, SigningKey } from '../meta-store.ts';
import type { ContractFixture } from './fixture.ts';

const HASH = new Uint8Array([1, 2, 3]);
const TOKEN: RefreshToken = {
  tokenHash: HASH,
  userName: 'ann',
  service: 'drift',
  clientId: 'docker',
  stamp: 's',
  createdAt: 1,
  usedAt: 1,
  expiresAt: 50,
};

function keyOf(keyId: string, createdAt: number, expiresAt: number): SigningKey {
  return { keyId, algorithm: 'ES256', privateJwk: '{}', publicJwk: '{}', createdAt, retiredAt: 9, expiresAt };
}

export function accessContract(fixture: ContractFixture): void {
  const { check } = fixture;
  check('access.putUser, twice, changes the one user', async (store) => {
    const user = { name: 'ann', passwordHash: 'h1', administrator: true, changedAt: 1 };
    await store.transaction((tx) => tx.access.putUser(user, 1));
    const changed = { ...user, passwordHash: 'h2', administrator: false, changedAt: 2 };
    await store.transaction((tx) => tx.access.putUser(changed, 2));
    assert.deepEqual(await store.read.access.user('ann'), changed);
    assert.equal(await store.read.access.user('Ann'), null);
    assert.equal(await store.read.access.countUsers(), 1);
  });

  check('access refresh tokens, put, touched, deleted', async (store) => {
    await store.transaction((tx) => tx.access.putRefreshToken(TOKEN));
    await store.transaction((tx) => tx.access.touchRefreshToken(HASH, 9));
    const found = await store.read.access.refreshToken(HASH);
    assert.deepEqual(
      { ...found, tokenHash: [...(found?.tokenHash ?? [])] },
      { ...TOKEN, usedAt: 9, tokenHash: [1, 2, 3] },
    );
    await store.transaction((tx) => tx.access.deleteRefreshToken(HASH));
    assert.equal(await store.read.access.refreshToken(HASH), null);
  });

  check('access.signingKeys, those that still verify, newest first', async (store) => {
    await store.transaction(async (tx) => {
      for (const key of [keyOf('old', 1, 10), keyOf('new', 3, 90), keyOf('mid', 2, 80)]) {
        await tx.access.putSigningKey(key);
      }
    });
    const keys = await store.read.access.signingKeys(10);
    assert.deepEqual(
      keys.map((key) => key.keyId),
      ['new', 'mid'],
    );
    assert.deepEqual(keys[0], keyOf('new', 3, 90));
  });
  failuresAndSettings(fixture);
}

function failuresAndSettings({ check }: ContractFixture): void {
  check('access login failures, counted until forgotten or cleared', async (store) => {
    const failures = { key: 'account:ann', failures: 2, blockedUntil: 7 };
    await store.transaction((tx) => tx.access.putLoginFailures({ ...failures, failures: 1 }, 50));
    await store.transaction((tx) => tx.access.putLoginFailures(failures, 50));
    const keys = ['account:ann', 'address:::1'];
    assert.deepEqual(await store.read.access.loginFailures(keys, 49), [failures]);
    assert.deepEqual(await store.read.access.loginFailures(keys, 50), []);
    await store.transaction((tx) => tx.access.clearLoginFailures(keys));
    assert.deepEqual(await store.read.access.loginFailures(keys, 1), []);
  });

  check('access settings, the last one put holds', async (store) => {
    assert.equal(await store.read.access.setting('a'), null);
    await store.transaction((tx) => tx.access.putSetting('a', '1'));
    await store.transaction((tx) => tx.access.putSetting('a', '2'));
    assert.equal(await store.read.access.setting('a'), '2');
  });

  check('access.expire, drops what is past, at most so many', async (store) => {
    await store.transaction(async (tx) => {
      await tx.access.putRefreshToken(TOKEN);
      await tx.access.putRefreshToken({ ...TOKEN, tokenHash: new Uint8Array([9]), expiresAt: 51 });
      await tx.access.putSigningKey(keyOf('old', 1, 50));
      await tx.access.putLoginFailures({ key: 'a', failures: 1, blockedUntil: 0 }, 50);
      await tx.access.putLoginFailures({ key: 'b', failures: 1, blockedUntil: 0 }, 50);
      await tx.access.expire(50, 1);
    });
    assert.equal(await store.read.access.refreshToken(HASH), null);
    assert.notEqual(await store.read.access.refreshToken(new Uint8Array([9])), null);
    assert.deepEqual(await store.read.access.signingKeys(0), []);
    assert.equal((await store.read.access.loginFailures(['a', 'b'], 0)).length, 1);
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash as bcryptHash } from 'bcryptjs';
import { isBcrypt } from '../std/bcrypt-hash.ts';
import { Bcrypt } from './bcrypt.ts';
import { argon2Matches, hashPassword, looksHashed, parseArgon2 } from './password-hash.ts';

test('hashPassword, read back, matches its password and no other', async () => {
  const hash = parseArgon2(await hashPassword('correct horse'));
  assert.ok(hash);
  assert.equal(await argon2Matches('correct horse', hash), true);
  assert.equal(await argon2Matches('correct horse ', hash), false);
});

test('argon2Matches, hashes of the reference program, match', async () => {
  // phc-winner-argon2, test.c: argon2i and argon2id, "password" with "somesalt".
  const vectors = [
    '$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8',
    '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  ];
  for (const vector of vectors) {
    const hash = parseArgon2(vector);
    assert.ok(hash);
    assert.equal(await argon2Matches('password', hash), true);
    assert.equal(await argon2Matches('passwort', hash), false);
  }
});

for (const text of [
  'plain',
  '$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  '$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  '$argon2id$v=19$m=4,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  '$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$',
]) {
  test(`parseArgon2, ${text.slice(0, 32)}, is refused`, () => assert.equal(parseArgon2(text), null));
}

test('looksHashed, hashes of many kinds and plain passwords, tells them apart', () => {
  for (const text of ['$argon2id$x', '$2y$05$abc', '$apr1$abc', '$6$salt$x', '$1$salt$x']) {
    assert.equal(looksHashed(text), true, text);
  }
  for (const text of ['changeme', '$ecret', '$100', 'a$2y$']) assert.equal(looksHashed(text), false, text);
});

test('Bcrypt.verify, right and wrong passwords at once, answers each', async () => {
  const hash = (await bcryptHash('secret', 4)).replace('$2b$', '$2y$');
  assert.equal(isBcrypt(hash), true);
  const bcrypt = new Bcrypt();
  try {
    const answers = await Promise.all(['secret', 'wrong', 'secret'].map((text) => bcrypt.verify(text, hash)));
    assert.deepEqual(answers, [true, false, true]);
  } finally {
    await bcrypt.close();
  }
});

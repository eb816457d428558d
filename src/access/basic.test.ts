import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RegistryError } from '../oci/error-codes.ts';
import { parseAuthorization } from './basic.ts';

const basic = (text: string | Buffer): string => `Basic ${Buffer.from(text).toString('base64')}`;

const readable: readonly [string, readonly string[], object][] = [
  ['no header', [], { kind: 'none' }],
  ['empty name and password', ['Basic Og=='], { kind: 'none' }],
  ['name and password', [basic('ann:pw')], { kind: 'basic', name: 'ann', password: 'pw' }],
  ['a colon in the password', [basic('ann:p:w:')], { kind: 'basic', name: 'ann', password: 'p:w:' }],
  ['UTF-8', [basic('änn:пароль')], { kind: 'basic', name: 'änn', password: 'пароль' }],
  [
    'another case of the scheme',
    [basic('ann:pw').replace('Basic', 'bAsIc')],
    { kind: 'basic', name: 'ann', password: 'pw' },
  ],
  ['an empty password', [basic('ann:')], { kind: 'basic', name: 'ann', password: '' }],
  ['a bearer token', ['bearer abc.def'], { kind: 'token', token: 'abc.def' }],
  ['a space in the password', [basic('ann: p w')], { kind: 'basic', name: 'ann', password: ' p w' }],
  [
    'a byte order mark as part of the name',
    [basic('\uFEFFann:pw')],
    { kind: 'basic', name: '\uFEFFann', password: 'pw' },
  ],
  [
    'the longest name and password',
    [basic(`${'a'.repeat(255)}:${'p'.repeat(1024)}`)],
    { kind: 'basic', name: 'a'.repeat(255), password: 'p'.repeat(1024) },
  ],
  [
    'the longest header',
    [`Bearer ${'t'.repeat(16_384 - 7)}`],
    { kind: 'token', token: 't'.repeat(16_384 - 7) },
  ],
];
for (const [what, header, expected] of readable) {
  test(`parseAuthorization, ${what}, is read`, () => assert.deepEqual(parseAuthorization(header), expected));
}

const unusable: readonly [string, string][] = [
  ['an empty header', ''],
  ['a scheme alone', 'Basic'],
  ['an unknown scheme', 'Digest username="ann"'],
  ['a space before the scheme', ' Basic YTpi'],
  ['a scheme with a character more', 'Basicx YTpi'],
  ['a bearer scheme alone', 'Bearer'],
  ['bad base64', 'Basic %%%%'],
  ['base64 with three signs of padding', 'Basic YTpi==='],
  ['text after the base64', 'Basic YTpi YTpi'],
  ['bytes that are no UTF-8', basic(Buffer.from([0x61, 0x3a, 0xff, 0xfe]))],
  ['no colon', basic('ann')],
  ['NUL in the name', basic('an\0n:pw')],
  ['a control character at the start of the name', basic('\x1fann:pw')],
  ['DEL at the end of the password', basic('ann:pw\x7f')],
  ['NUL in the password', basic('ann:p\0w')],
  ['a line break in the password', basic('ann:pw\n')],
  ['no name', basic(':pw')],
  ['a name of 256 characters', basic(`${'a'.repeat(256)}:pw`)],
  ['a password of 1025 characters', basic(`ann:${'p'.repeat(1025)}`)],
  ['an empty bearer token', 'Bearer '],
];
for (const [what, header] of unusable) {
  test(`parseAuthorization, ${what}, is unusable`, () => {
    assert.equal(parseAuthorization([header]).kind, 'unusable');
  });
}

test('parseAuthorization, two headers, throws REQUEST_INVALID', () => {
  assert.throws(() => parseAuthorization([basic('a:b'), basic('a:b')]), isInvalid);
});

test('parseAuthorization, a password of one megabyte, throws REQUEST_INVALID', () => {
  assert.throws(() => parseAuthorization([basic(`ann:${'p'.repeat(1 << 20)}`)]), isInvalid);
  assert.throws(() => parseAuthorization([`Bearer ${'t'.repeat(16_385 - 7)}`]), isInvalid);
});

function isInvalid(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'REQUEST_INVALID';
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { networkOf } from './login-throttle.ts';

const cases: readonly [string, string][] = [
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::ffff', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['', 'unknown'],
  ['nonsense', 'unknown'],
];
for (const [address, network] of cases) {
  test(`networkOf, ${address}, is ${network}`, () => assert.equal(networkOf(address), network));
}

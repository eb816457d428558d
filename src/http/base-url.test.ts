import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import type { ServerConfig } from '../config/config.ts';
import { createOrigins } from './base-url.ts';

const SERVER: ServerConfig = {
  bind: { host: '0.0.0.0', port: 5000 },
  ui: { host: '0.0.0.0', port: 5001 },
  workers: 1,
  nodeName: 'node',
  externalUrl: null,
  trustedProxies: ['10.0.0.0/8', '127.0.0.0/8', 'fd00::/8'],
  trustedClientProxies: ['10.0.0.1', '10.1.0.0/16'],
  drainSecondsMax: 1,
};

function message(headers: Record<string, string>, peer: string, tls = false): IncomingMessage {
  const socket = { remoteAddress: peer, localAddress: '192.0.2.7', localPort: 5000 };
  return { headers, socket: tls ? { ...socket, encrypted: true } : socket } as unknown as IncomingMessage;
}

const PROXIED = {
  host: 'inner:5000',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'registry.example.com',
};
const CASES: [string, Record<string, string>, string, boolean, string][] = [
  ['Host alone', { host: 'r.example:5000' }, '198.51.100.1', false, 'http://r.example:5000'],
  ['own TLS', { host: 'r.example' }, '198.51.100.1', true, 'https://r.example'],
  ['trusted proxy', PROXIED, '10.9.9.9', false, 'https://registry.example.com'],
  ['trusted proxy as a mapped address', PROXIED, '::ffff:10.9.9.9', false, 'https://registry.example.com'],
  ['trusted IPv6 proxy', PROXIED, 'fd00::5', false, 'https://registry.example.com'],
  ['stranger with forwarded headers', PROXIED, '198.51.100.1', false, 'http://inner:5000'],
  ['unknown scheme', { host: 'a', 'x-forwarded-proto': 'gopher' }, '10.0.0.1', false, 'http://a'],
  ['list of schemes', { host: 'a', 'x-forwarded-proto': 'https, http' }, '10.0.0.1', false, 'https://a'],
  ['bad forwarded host', { ...PROXIED, 'x-forwarded-host': 'a"b' }, '10.0.0.1', false, 'https://inner:5000'],
  ['no Host', {}, '198.51.100.1', false, 'http://192.0.2.7:5000'],
  ['Host with a path', { host: 'evil/x' }, '198.51.100.1', false, 'http://192.0.2.7:5000'],
  ['Host with user', { host: 'a@evil' }, '198.51.100.1', false, 'http://192.0.2.7:5000'],
  ['Host with a space', { host: 'a b' }, '198.51.100.1', false, 'http://192.0.2.7:5000'],
  ['IPv6 Host', { host: '[::1]:5000' }, '::1', false, 'http://[::1]:5000'],
];
for (const [title, headers, peer, tls, expected] of CASES) {
  test(`baseUrl, ${title}, is ${expected}`, () => {
    assert.equal(createOrigins(SERVER).baseUrl(message(headers, peer, tls)), expected);
  });
}

test('baseUrl, an external URL configured, wins over everything', () => {
  const origins = createOrigins({ ...SERVER, externalUrl: 'https://registry.example.org' });
  assert.equal(origins.baseUrl(message(PROXIED, '10.0.0.1')), 'https://registry.example.org');
});

const CLIENTS: [string, string, string | null, string][] = [
  ['no header', '::ffff:198.51.100.1', null, '198.51.100.1'],
  ['stranger names a client', '198.51.100.1', '203.0.113.9', '198.51.100.1'],
  ['trusted proxy', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
  ['client lies to the trusted proxy', '10.0.0.1', '1.1.1.1, 203.0.113.9', '203.0.113.9'],
  ['two trusted proxies', '10.0.0.1', '203.0.113.9, 10.1.2.3', '203.0.113.9'],
  ['no address in the header', '10.0.0.1', 'unknown', '10.0.0.1'],
  ['proxy trusted for the scheme only', '10.200.0.1', '203.0.113.9', '10.200.0.1'],
];
for (const [title, peer, forwarded, expected] of CLIENTS) {
  test(`clientAddress, ${title}, is ${expected}`, () => {
    const headers: Record<string, string> = forwarded === null ? {} : { 'x-forwarded-for': forwarded };
    assert.equal(createOrigins(SERVER).clientAddress(message(headers, peer)), expected);
  });
}

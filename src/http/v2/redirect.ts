import { isIP } from 'node:net';
import type { Presign } from '../../blobs/blob-store.ts';
import type { RedirectConfig } from '../../config/config.ts';
import type { LinkedBlob } from '../../meta/meta-store.ts';
import { createAddressSet } from '../base-url.ts';
import type { Call, Reply } from '../call.ts';
import { NO_BODY } from './desk.ts';

/** Addresses that mean something only near to whoever knows them. */
const NEAR = createAddressSet([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::/127',
  'fc00::/7',
  'fe80::/10',
]);
/** Endings of names that no resolver of the Internet answers for. */
const NEAR_NAMES =
  /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|svc|cluster\.local|test|invalid)$/;

/**
 * Whether a client that sees us at `baseUrl` is sent to the store. In `auto`, what can be known: somebody said that clients
 * reach it, or it has a name or an address that is not only one of this network. A client that came by HTTPS is never sent
 * to HTTP by a guess.
 */
export function sendsToStore(mode: RedirectConfig['mode'], presign: Presign, baseUrl: string): boolean {
  if (mode !== 'auto') return mode === 'on';
  const to = new URL(presign.origin);
  if (to.protocol === 'http:' && baseUrl.startsWith('https:')) return false;
  return presign.isForClients || isPublic(to.hostname);
}

function isPublic(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (isIP(host) !== 0) return !NEAR.has(host);
  return host.includes('.') && !NEAR_NAMES.test(host);
}

/** The address is good for a short time and for whoever has it: it is stored nowhere, and the log does not see it. */
export function redirectTo(address: string, blob: LinkedBlob): Reply {
  return {
    status: 307,
    headers: { Location: address, 'Cache-Control': 'no-store', 'Docker-Content-Digest': blob.digest },
    body: NO_BODY,
  };
}

/** One range works there as it does here; several do not, and what a condition compares has another name there. */
export function isPlainGet(call: Call, ranges: number): boolean {
  return ranges <= 1 && call.headers['if-range'] === undefined;
}

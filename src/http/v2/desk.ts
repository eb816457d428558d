import type { Guard } from '../../access/guard.ts';
import type { Config } from '../../config/config.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Call, Reply } from '../call.ts';
import type { RouteKind, RouteOf } from './path.ts';

/** What a desk may use to answer a call. */
export interface Desk {
  readonly registry: Registry;
  readonly guard: Guard;
  readonly config: Config;
}

export type Handler<K extends RouteKind> = (desk: Desk, call: Call, route: RouteOf<K>) => Promise<Reply>;

export const NO_BODY = { kind: 'none' } as const;

/** Addresses are relative: right behind every proxy, whatever it calls us. */
export function blobPath(repository: RepositoryName, digest: Digest): string {
  return `/v2/${repository}/blobs/${digest}`;
}

/** What comes from a pusher must never run in a browser on our origin; the door says `nosniff` on every answer. */
export const CONTENT_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': "default-src 'none'; sandbox",
};

/** `If-None-Match` of RFC 9110, 13.1.2, over an entity tag that is the quoted digest. */
export function matchesEtag(header: string | undefined, digest: Digest): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((item) => item.trim().replace(/^W\//, '') === `"${digest}"`);
}

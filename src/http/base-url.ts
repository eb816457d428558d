import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { ServerConfig } from '../config/config.ts';

/** Who the client is and under which address it sees us. Forwarded headers count only from peers the config trusts. */
export interface Origins {
  /** Scheme and host, without a trailing slash. */
  baseUrl(message: IncomingMessage): string;
  clientAddress(message: IncomingMessage): string;
}

/** Entries of `X-Forwarded-For` that are looked at, from the right. */
const FORWARDED_HOPS_MAX = 32;
const HOST = /^(?:[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?\.?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

export function createOrigins(server: ServerConfig): Origins {
  const proxies = createAddressSet(server.trustedProxies);
  const clientProxies = createAddressSet(server.trustedClientProxies);
  return {
    baseUrl(message) {
      if (server.externalUrl !== null) return server.externalUrl;
      const { headers, socket } = message;
      const forwardedProto = headers['x-forwarded-proto'];
      const forwardedHost = headers['x-forwarded-host'];
      const trusted =
        (forwardedProto !== undefined || forwardedHost !== undefined) &&
        proxies.has(socket.remoteAddress ?? '');
      const proto = trusted ? firstValue(forwardedProto)?.toLowerCase() : undefined;
      const scheme = proto === 'https' || proto === 'http' ? proto : 'encrypted' in socket ? 'https' : 'http';
      const host = validHost(trusted ? firstValue(forwardedHost) : undefined) ?? validHost(headers.host);
      return `${scheme}://${host ?? listenHost(message, server)}`;
    },
    clientAddress(message) {
      const peer = plainAddress(message.socket.remoteAddress ?? '');
      const forwarded = message.headers['x-forwarded-for'];
      if (forwarded === undefined || !clientProxies.has(peer)) return peer;
      return lastUntrusted(peer, String(forwarded), clientProxies);
    },
  };
}

export interface AddressSet {
  has(address: string): boolean;
}

/** CIDR blocks and single addresses of both families. */
export function createAddressSet(blocks: readonly string[]): AddressSet {
  const list = new BlockList();
  for (const block of blocks) {
    const slash = block.indexOf('/');
    const address = plainAddress(slash < 0 ? block : block.slice(0, slash));
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (slash < 0) list.addAddress(address, family);
    else list.addSubnet(address, Number(block.slice(slash + 1)), family);
  }
  return {
    has(address) {
      const plain = plainAddress(address);
      const version = isIP(plain);
      return version !== 0 && list.check(plain, version === 6 ? 'ipv6' : 'ipv4');
    },
  };
}

/** An IPv4 peer of a dual-stack listener reads `::ffff:192.0.2.1`. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

function lastUntrusted(peer: string, forwarded: string, trusted: AddressSet): string {
  let client = peer;
  for (const hop of forwarded.split(',').slice(-FORWARDED_HOPS_MAX).reverse()) {
    const address = plainAddress(hop.trim());
    if (isIP(address) === 0) return client;
    client = address;
    if (!trusted.has(address)) return client;
  }
  return client;
}

function firstValue(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = typeof header === 'string' ? header : (header[0] ?? '');
  const comma = text.indexOf(',');
  return (comma < 0 ? text : text.slice(0, comma)).trim();
}

function validHost(host: string | undefined): string | null {
  return host !== undefined && HOST.test(host) ? host : null;
}

function listenHost(message: IncomingMessage, server: ServerConfig): string {
  const address = plainAddress(message.socket.localAddress ?? server.bind.host);
  return `${isIP(address) === 6 ? `[${address}]` : address}:${message.socket.localPort ?? server.bind.port}`;
}

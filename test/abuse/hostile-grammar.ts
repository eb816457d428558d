import { V2_ROUTES } from '../../src/http/v2/route.ts';
import type { SeededRandom } from '../crash/seeded-random.ts';
import { CONTENT_TYPES, hostileBody } from './hostile-bodies.ts';
import {
  AUTHORIZATIONS,
  CONTENT_RANGES,
  DIGESTS,
  HEADERS,
  LAST_HEADERS,
  METHODS,
  NAMES,
  ODD_METHODS,
  QUERIES,
  RANGES,
  TAGS,
  UPLOAD_IDS,
} from './hostile-values.ts';
import type { Batch } from './pipeline.ts';

/** Puts what only a running registry knows in place of `{token}` and the like. */
export type Fill = (text: string) => string;

interface RouteShape {
  readonly pattern: string;
  readonly methods: readonly string[];
}

/** Every path that the registry's port serves: `/v2` from its own table. */
const ROUTES: readonly RouteShape[] = [
  ...Object.values(V2_ROUTES).map(({ pattern, methods }) => ({ pattern, methods: Object.keys(methods) })),
  { pattern: '/token', methods: ['GET', 'POST'] },
  { pattern: '/.well-known/jwks.json', methods: ['GET'] },
  { pattern: '/healthz', methods: ['GET'] },
  { pattern: '/readyz', methods: ['GET'] },
  { pattern: '/', methods: ['GET'] },
  { pattern: '/v1/<name>', methods: ['GET'] },
  { pattern: '/<name>', methods: ['GET'] },
];

/** Not whole URLs and not stars: those are malformed targets, which end the connection. */
const ODD_TARGETS = [
  '/v2',
  '//v2/',
  '/v2//',
  '/v2/./',
  '/V2/',
  '/v2/..',
  '/v2/%2e',
  '/v2/?',
  '/v2/#',
  '/v2%2f',
  '/v2\\',
];
const BODY_METHODS = new Set(['POST', 'PUT', 'PATCH']);

/** Requests that follow each other on one connection; the last may be anything, those before it end where they say. */
export function hostileBatch(random: SeededRandom, count: number, fill: Fill): Batch {
  const requests = Array.from({ length: count - 1 }, () => soundRequest(random, fill));
  const end = random.integer(8);
  if (end < 5) {
    return {
      bytes: `${requests.join('')}GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n`,
      sound: true,
    };
  }
  const last = end < 7 ? fill(brokenRequest(random)) : mutatedBytes(random, soundRequest(random, fill));
  return { bytes: requests.join('') + last, sound: false };
}

function soundRequest(random: SeededRandom, fill: Fill): string {
  const { method, target } = line(random);
  const headers = ['Host: r', ...headersOf(random, method)];
  // A refused body ends its connection, and with it what comes behind: not too many of them.
  const withBody = random.integer(BODY_METHODS.has(method) ? 5 : 300) === 0;
  const body = withBody ? framed(random, fill(hostileBody(random))) : emptyBody(method);
  return fill(`${method} ${target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n`) + body;
}

function line(random: SeededRandom): { readonly method: string; readonly target: string } {
  const route = random.pick(ROUTES);
  let method = random.integer(12) === 0 ? random.pick(METHODS) : random.pick(route.methods);
  if (random.integer(150) === 0) method = random.pick(ODD_METHODS);
  if (random.integer(40) === 0) return { method, target: random.pick(ODD_TARGETS) };
  const path = route.pattern
    .replace('<name>', () => often(random, NAMES, 6))
    .replace('<reference>', () => often(random, random.integer(2) === 0 ? TAGS : DIGESTS, 4))
    .replace('<digest>', () => often(random, DIGESTS, 4))
    .replace('<id>', () => often(random, UPLOAD_IDS, 4));
  return { method, target: path + (random.integer(3) === 0 ? random.pick(QUERIES) : '') };
}

/** Every other time one of the first, which are good: what is refused at once finds nothing further inside. */
function often(random: SeededRandom, values: readonly string[], good: number): string {
  return random.pick(random.integer(2) === 0 ? values.slice(0, good) : values);
}

function headersOf(random: SeededRandom, method: string): readonly string[] {
  const headers: string[] = [];
  const credentials = random.integer(20);
  if (credentials < 16) headers.push('Authorization: Bearer {token}');
  else if (credentials < 19) headers.push(`Authorization: ${random.pick(AUTHORIZATIONS)}`);
  if (credentials === 17) headers.push('Authorization: Bearer {token}');
  if (random.integer(4) === 0) headers.push(`Range: ${random.pick(RANGES)}`);
  if (BODY_METHODS.has(method)) {
    if (random.integer(3) === 0) headers.push(`Content-Range: ${random.pick(CONTENT_RANGES)}`);
    headers.push(`Content-Type: ${random.pick(CONTENT_TYPES)}`);
  }
  for (let left = random.integer(3); left > 0; left--) headers.push(random.pick(HEADERS));
  if (random.integer(100) === 0) headers.push(random.pick(LAST_HEADERS));
  return random.shuffled(headers).map((header) => header.replaceAll('\x00', ''));
}

function emptyBody(method: string): string {
  return BODY_METHODS.has(method) ? 'Content-Length: 0\r\n\r\n' : '\r\n';
}

function framed(random: SeededRandom, body: string): string {
  if (random.integer(3) > 0 || body === '') return `Content-Length: ${body.length}\r\n\r\n${body}`;
  const size = body.length.toString(16);
  return `Transfer-Encoding: chunked\r\n\r\n${size}\r\n${body}\r\n0\r\n\r\n`;
}

const BROKEN_FRAMES: readonly string[] = [
  'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
  'Content-Length: -1\r\n\r\n',
  'Content-Length: 99999999999999999999\r\n\r\nx',
  'Content-Length: 0x5\r\n\r\nhello',
  'Content-Length: 5, 5\r\n\r\nhello',
  'Content-Length: \r\n\r\n',
  'Content-Length: 1e3\r\n\r\n',
  'Content-Length: 500\r\n\r\nshort',
  'Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx',
  'Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n',
  'Transfer-Encoding: chunked\r\n\r\n5\r\nhel',
  'Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n',
  'Transfer-Encoding: identity\r\n\r\n',
  'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  'Transfer-Encoding: xchunked\r\n\r\n',
  'Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n',
  'Transfer-Encoding\t: chunked\r\n\r\n',
  ' Content-Length: 5\r\n\r\nhello',
  'Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n',
  'X: a\r\n folded\r\n\r\n',
  'X\r\n\r\n',
  ': x\r\n\r\n',
  'X: a\x00b\r\n\r\n',
  'X: a\nY: b\n\n',
  'Transfer-Encoding: chunked\r\n\r\n1;' + 'x'.repeat(20_000) + '\r\na\r\n0\r\n\r\n',
  `X: ${'z'.repeat(40_000)}\r\n\r\n`,
  `${'A: b\r\n'.repeat(3000)}\r\n`,
  'Expect: 100-continue\r\nContent-Length: 50\r\n\r\n',
  'Content-Length: 10\r\n\r\nGET /v2/ HT',
];

const BROKEN_LINES: readonly string[] = [
  'GET\r\n\r\n',
  'GET /v2/\r\n\r\n',
  'GET /v2/ HTTP/9.9\r\n\r\n',
  'GET  /v2/ HTTP/1.1\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'get /v2/ HTTP/1.1\r\nHost: r\r\n\r\n',
  'CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n',
  'GET * HTTP/1.1\r\nHost: r\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: r\r\n\r\n',
  'GET http://evil/v2/ HTTP/1.1\r\nHost: r\r\n\r\n',
  'GET /v2/ HTTP/1.1\r\n\r\n',
  'GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'GET /v2/ HTTP/1.0\r\n\r\n',
  '\r\n\r\n\r\n',
  '\x00',
  'HEAD /v2/',
  `GET /${'a'.repeat(40_000)} HTTP/1.1\r\nHost: r\r\n\r\n`,
  'BREW /v2/ HTTP/1.1\r\nHost: r\r\n\r\n',
  'GET /v2/\x00 HTTP/1.1\r\n\r\n',
  'GET v2 HTTP/1.1\r\nHost: r\r\n\r\n',
  'GET ?x HTTP/1.1\r\nHost: r\r\n\r\n',
  'POST /v2/ HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\nab',
];

function brokenRequest(random: SeededRandom): string {
  if (random.integer(3) === 0) return random.pick(BROKEN_LINES);
  const { method, target } = line(random);
  return `${method} ${target} HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer {token}\r\n${random.pick(BROKEN_FRAMES)}`;
}

/** A good request in which a few bytes are others, missing or there twice. */
function mutatedBytes(random: SeededRandom, request: string): string {
  let text = request;
  for (let left = 1 + random.integer(4); left > 0; left--) {
    const at = random.integer(text.length + 1);
    const length = random.integer(6);
    const how = random.integer(4);
    const noise = String.fromCharCode(...random.bytes(4 + length)).slice(0, length);
    if (how === 0) text = text.slice(0, at) + noise + text.slice(at + length);
    else if (how === 1) text = text.slice(0, at) + text.slice(at + length);
    else if (how === 2)
      text = text.slice(0, at) + text.slice(at, at + length).repeat(2) + text.slice(at + length);
    else
      text =
        text.slice(0, at) +
        random.pick(['\r\n', '\n', '\r', '\x00', ' ', ':', '%', '/', ',']) +
        text.slice(at);
  }
  return text;
}

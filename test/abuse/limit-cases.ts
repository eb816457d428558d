import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { KeyId } from '../../src/config/keys.ts';
import { expireUploads } from '../../src/registry/expire-uploads.ts';
import { noFence } from '../../src/registry/fence.ts';
import { RawClient } from '../harness/door-world.ts';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, basic, IMAGE, LAYER, OWNER, sha256 } from '../v2/v2-client.ts';

/** One past a limit: what is set, what is done, and the answer that the limit's documentation promises. */
export interface LimitCase {
  readonly promise: string;
  readonly run: () => Promise<void>;
}

const REPOSITORY = 'ghost/limits';
const AUTH = `Host: r\r\nAuthorization: ${basic(ADMIN)}\r\n`;
const MIB = 1024 * 1024;

function within(env: Readonly<Record<string, string>>, act: (world: WireWorld) => Promise<void>) {
  return async (): Promise<void> => {
    await using world = await openWireWorld({ env });
    await act(world);
  };
}

const manifestSize = within({ DRIFT_LIMITS_MANIFEST_SIZE: '64KiB' }, async ({ client }) => {
  const { bytes } = await client.pushImage(REPOSITORY, 'small');
  const padded = (size: number): Buffer => Buffer.concat([bytes, Buffer.alloc(size - bytes.length, ' ')]);
  assert.equal((await client.putManifest(REPOSITORY, 'full', padded(64 * 1024))).status, 201);
  const over = await client.putManifest(REPOSITORY, 'over', padded(64 * 1024 + 1));
  assert.deepEqual([over.status, over.code], [413, 'SIZE_INVALID']);
});

const blobSize = within({ DRIFT_LIMITS_BLOB_SIZE: '1MiB' }, async ({ client }) => {
  await client.pushBlob(REPOSITORY, Buffer.alloc(MIB));
  const over = Buffer.alloc(MIB + 1);
  for (const body of [over, [over]]) {
    const location = await client.startUpload(REPOSITORY);
    const answer = await client.send('PUT', `${location}?digest=${sha256(over)}`, { body });
    assert.deepEqual([answer.status, answer.code], [413, 'SIZE_INVALID']);
  }
});

async function uploadIdle(): Promise<void> {
  const clock = { at: Date.now(), now: () => clock.at };
  await using world = await openWireWorld({ env: { DRIFT_LIMITS_UPLOAD_IDLE: '1m' }, clock });
  const { meta, blobs } = world.registry;
  const location = await world.client.startUpload(REPOSITORY);
  clock.at += 59_000;
  assert.equal(await expireUploads({ meta, blobs, clock }, { limit: 10, fence: noFence }), 0);
  await expectAnswer(world.client.send('GET', location), { status: 204 });
  clock.at += 2_000;
  assert.equal(await expireUploads({ meta, blobs, clock }, { limit: 10, fence: noFence }), 1);
  await expectAnswer(world.client.send('GET', location), { status: 404 });
}

const uploadsOpen = within({ DRIFT_LIMITS_UPLOADS_OPEN: '10' }, async ({ client }) => {
  const start = (as = ADMIN) => client.send('POST', `/v2/${REPOSITORY}/blobs/uploads/`, { as });
  for (let count = 0; count < 9; count++) await expectAnswer(start(), { status: 202 });
  await expectAnswer(start(), { status: 429, 'retry-after': /^\d+$/ });
  await expectAnswer(start(OWNER), { status: 202 });
  await expectAnswer(start(OWNER), { status: 429, 'retry-after': /^\d+$/ });
});

const bodyIdle = within({ DRIFT_LIMITS_BODY_IDLE: '1s' }, async ({ client, port }) => {
  const location = await client.startUpload(REPOSITORY);
  const raw = await RawClient.open(port);
  raw.send(`PATCH ${location} HTTP/1.1\r\n${AUTH}Content-Length: 100\r\n\r\nx`);
  assert.match(await raw.untilClosed(), /^HTTP\/1\.1 408 [^]*\r\nConnection: close\r\n/);
});

const connections = within({ DRIFT_LIMITS_CONNECTIONS: '3' }, async ({ port }) => {
  const open = await Promise.all([1, 2, 3].map(() => RawClient.open(port)));
  for (const each of open) {
    each.send('GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n');
    await each.until(/^HTTP\/1\.1 401 /);
  }
  await assertReset({ port, host: '127.0.0.1' });
  open[0]?.close();
  await assertServed({ port, host: '127.0.0.1' });
  for (const each of open) each.close();
});

/** Loopback carries local proxies and is exempt: the test needs an address of the machine that is none. */
const connectionsPerAddress = within(
  { DRIFT_LIMITS_CONNECTIONS_PER_ADDRESS: '2', DRIFT_BIND_ADDR: '0.0.0.0:0' },
  async ({ port }) => {
    const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    const host = addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address;
    assert.ok(host !== undefined, 'this machine has no address but loopback');
    const open = [connect(port, host), connect(port, host)];
    for (const socket of open) socket.on('error', () => {});
    await Promise.all(open.map((socket) => once(socket, 'connect')));
    await assertReset({ port, host });
    await assertServed({ port, host: '127.0.0.1' });
    for (const socket of open) socket.destroy();
  },
);

const ranges = within({ DRIFT_LIMITS_RANGES: '2' }, async ({ client }) => {
  const path = `/v2/${REPOSITORY}/blobs/${await client.pushBlob(REPOSITORY, Buffer.from('0123456789'))}`;
  const get = (range: string) => client.send('GET', path, { headers: { range } });
  await expectAnswer(get('bytes=0-0,2-2'), { status: 206 });
  const over = await expectAnswer(get('bytes=0-0,2-2,4-4'), { status: 400 });
  assert.match(over.message, /at most 2 ranges/);
});

const pageEntries = within({ DRIFT_LIMITS_PAGE_ENTRIES: '2' }, async ({ client }) => {
  const { bytes } = await client.pushImage(REPOSITORY, 'a');
  for (const tag of ['b', 'c']) await client.putManifest(REPOSITORY, tag, bytes);
  const page = await expectAnswer(client.send('GET', `/v2/${REPOSITORY}/tags/list?n=3`), {
    status: 200,
    link: /n=2.*last=b|last=b.*n=2/,
  });
  assert.deepEqual(page.json.tags, ['a', 'b']);
});

const tagParameters = within({ DRIFT_LIMITS_TAG_PARAMETERS: '2' }, async ({ client }) => {
  const { bytes, digest } = await client.pushImage(REPOSITORY, null);
  const put = (query: string) => client.putManifest(REPOSITORY, `${digest}?${query}`, bytes);
  await expectAnswer(put('tag=a&tag=b'), { status: 201 });
  await expectAnswer(put('tag=c&tag=d&tag=e'), { status: 414 });
  await expectAnswer(client.send('GET', `/v2/${REPOSITORY}/manifests/c`), { status: 404 });
});

const descriptors = within({ DRIFT_LIMITS_DESCRIPTORS: '3' }, async ({ client }) => {
  const layer = Buffer.from('layer');
  const digest = await client.pushBlob(REPOSITORY, layer);
  const entry = { mediaType: LAYER, digest, size: layer.length };
  const manifest = (layers: number): string =>
    JSON.stringify({ schemaVersion: 2, mediaType: IMAGE, config: entry, layers: Array(layers).fill(entry) });
  await expectAnswer(client.putManifest(REPOSITORY, 'full', manifest(2)), { status: 201 });
  const over = await expectAnswer(client.putManifest(REPOSITORY, 'over', manifest(3)), { status: 400 });
  assert.match(over.message, /4 descriptors; at most 3/);
});

const passwordChecks = within({ DRIFT_LIMITS_PASSWORD_CHECKS: '1' }, async ({ client }) => {
  const logins = Array.from({ length: 60 }, (_, at) =>
    client.send('GET', '/v2/', { as: { name: `nobody${at}`, password: 'wrong-password' } }),
  );
  const answers = await Promise.all(logins);
  const refused = answers.filter(({ message }) => message.includes('too many logins at once'));
  assert.ok(refused.length > 0);
  for (const { status, headers } of refused) {
    assert.equal(status, 429);
    assert.match(String(headers['retry-after']), /^\d+$/);
  }
});

const memoryCache = within({ DRIFT_LIMITS_MEMORY_CACHE: '0' }, async ({ client }) => {
  const { bytes, layer } = await client.pushImage(REPOSITORY, 'latest');
  for (let count = 0; count < 2; count++) {
    const manifest = await client.send('GET', `/v2/${REPOSITORY}/manifests/latest`);
    assert.deepEqual(manifest.body, bytes);
    assert.equal((await client.send('GET', `/v2/${REPOSITORY}/blobs/${layer}`)).body.toString(), 'layer one');
  }
});

async function reserve(): Promise<void> {
  await using world = await openWireWorld({ env: { DRIFT_STORAGE_RESERVE: '1024TiB' } });
  const answer = await world.client.send('POST', `/v2/${REPOSITORY}/blobs/uploads/`);
  assert.deepEqual([answer.status, answer.code], [507, 'UNAVAILABLE']);
  assert.match(String(answer.headers['retry-after']), /^\d+$/);
  await expectAnswer(world.client.send('GET', '/v2/_catalog'), { status: 200 });
}

async function assertReset(address: { readonly port: number; readonly host: string }): Promise<void> {
  const socket = connect(address);
  let received = 0;
  socket.on('error', () => {}).on('data', (part) => (received += part.length));
  await closed(socket);
  assert.equal(received, 0);
}

/** An error is an end like any other. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** The place of a connection that has just closed may be free a moment later. */
async function assertServed(address: { readonly port: number; readonly host: string }): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect(address);
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (part: Buffer) => {
      text += part.toString();
    });
    socket.write('GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n');
    await closed(socket);
    if (text.startsWith('HTTP/1.1 401 ')) return;
  }
  assert.fail('never served');
}

export const LIMIT_CASES: Readonly<Partial<Record<KeyId, LimitCase>>> = {
  manifestSize: { promise: 'is 413', run: manifestSize },
  blobSize: { promise: 'is 413, with and without a length', run: blobSize },
  uploadIdle: { promise: 'discards the upload: 404', run: uploadIdle },
  uploadsOpen: { promise: 'is 429 with Retry-After, for one user before the last tenth', run: uploadsOpen },
  bodyIdle: { promise: 'is 408 and ends the connection', run: bodyIdle },
  connectionsPerAddress: { promise: 'is a reset for that address alone', run: connectionsPerAddress },
  connections: { promise: 'is a reset until one closes', run: connections },
  ranges: { promise: 'is 400', run: ranges },
  pageEntries: { promise: 'is a shorter page with a Link', run: pageEntries },
  tagParameters: { promise: 'is 414 and sets no tag', run: tagParameters },
  descriptors: { promise: 'is 400 and says how many', run: descriptors },
  passwordChecks: { promise: 'waits, and past the queue is 429', run: passwordChecks },
  memoryCache: { promise: 'is read from the store', run: memoryCache },
  reserve: { promise: 'refuses uploads with 507; reads go on', run: reserve },
};

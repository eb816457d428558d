import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { SeededRandom } from '../crash/seeded-random.ts';
import { holdingsOf } from '../harness/process-tree.ts';
import { eventually } from '../harness/wire-world.ts';
import { abortOne, planAbort } from './aborting-clients.ts';
import { type AbusedRegistry, openAbusedRegistry } from './abused-registry.ts';

const SEED = Number(process.env['ABUSE_SEED'] ?? Date.now() % 1_000_000_000);
const ABORTS = Number(process.env['ABUSE_ABORTS'] ?? 10_000);
/** Before the first measure: caches, compiled code and buffers that stay. */
const WARM_UP_ABORTS = 2_000;
const AT_ONCE = 64;
/** More than clients at once: two of them in one upload would wait for each other. */
const UPLOADS = 256;
/** Four processes whose heaps breathe; ten thousand bodies that stay, even in part, would be several times that. */
const RESIDENT_GROWTH_BYTES_MAX = 192 * 1024 * 1024;
/** Sockets between the processes and to the test come and go. */
const DESCRIPTORS_GROWTH_MAX = 8;
const IDLE_CONNECTIONS = 2_000;

let registry: AbusedRegistry;
const big = randomBytes(512 * 1024);
before(async () => {
  registry = await openAbusedRegistry({ DRIFT_LIMITS_BODY_IDLE: '20s' });
});
after(() => registry[Symbol.asyncDispose]());

const holdings = () => holdingsOf(registry.drift.pid, registry.drift.dataDirectory);

describe('aborted transfers', () => {
  it('ten thousand, each at a random byte, leave descriptors, files and memory where they were', async (t) => {
    t.diagnostic(`ABUSE_SEED=${SEED}`);
    const { client, port, places } = registry;
    const random = new SeededRandom(SEED);
    const blob = `/v2/abuse/one/blobs/${await client.pushBlob('abuse/one', big)}`;
    const uploads: string[] = [];
    for (let count = 0; count < UPLOADS; count++) uploads.push(await client.startUpload('abuse/one'));
    const auth = `Host: r\r\nAuthorization: Bearer ${places['token']}\r\n`;
    const body = big.subarray(0, 128 * 1024);
    let turn = 0;
    const abort = (count: number) =>
      inTurns(count, () => {
        const upload = uploads[turn++ % UPLOADS] ?? '';
        return abortOne(port, planAbort(random, { auth, blob, blobBytes: big.length, upload, body }));
      });
    const settled = () =>
      eventually(
        () => holdings().files.length === 0,
        () => `open: ${holdings().files.join()}`,
      );

    await abort(WARM_UP_ABORTS);
    await settled();
    const before = holdings();
    await abort(ABORTS);
    await settled();
    await eventually(
      () => holdings().descriptors <= before.descriptors + DESCRIPTORS_GROWTH_MAX,
      () => `${holdings().descriptors} descriptors, ${before.descriptors} before`,
    );
    const growth = holdings().residentBytes - before.residentBytes;
    t.diagnostic(`${Math.round(growth / 1024)} KiB more resident than after the warm-up`);
    assert.ok(growth < RESIDENT_GROWTH_BYTES_MAX, `${growth} bytes`);

    for (const location of uploads) {
      const answer = await client.send('DELETE', location);
      assert.equal(answer.status, 204, answer.body.toString());
    }
    // Those that were opened with the registry never got a byte.
    const entries = readdirSync(join(registry.drift.dataDirectory, 'uploads'), { recursive: true });
    assert.deepEqual(
      entries.filter((entry) => String(entry).includes('/')),
      [],
    );
    assert.ok((await client.send('GET', blob)).body.equals(big));
    await registry.assertUnharmed();
  });

  it('two thousand idle connections and headers that come a byte at a time, stop nobody else', async () => {
    const held: Socket[] = [];
    await inTurns(IDLE_CONNECTIONS, async () => {
      held.push(await openSocket(registry.port));
    });
    const half = held.slice(0, held.length / 2);
    const drip = setInterval(() => {
      for (const socket of half) socket.write('x');
    }, 500);
    for (const socket of half) socket.write('GET /v2/ HTTP/1.1\r\nX-Slow: ');
    try {
      for (let count = 0; count < 5; count++) {
        await registry.client.pushImage('abuse/one', `during${count}`, { content: `during ${count}` });
        await registry.assertUnharmed();
      }
    } finally {
      clearInterval(drip);
      for (const socket of held) socket.destroy();
    }
    await eventually(
      () => holdings().descriptors < IDLE_CONNECTIONS,
      () => `${holdings().descriptors} descriptors are still open`,
    );
  });
});

async function inTurns(count: number, one: () => Promise<void>): Promise<void> {
  let left = count;
  const work = async (): Promise<void> => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.once('error', reject);
    socket.on('error', () => {});
  });
}

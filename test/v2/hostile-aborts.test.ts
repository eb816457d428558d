import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { eventually, expectAnswer, hangUp, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, basic, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/aborts';
const AUTH = `Host: r\r\nAuthorization: ${basic(ADMIN)}\r\n`;
const AT_ONCE = 16;

describe('E5, clients that hang up', () => {
  let world: WireWorld;
  const big = randomBytes(6 * 1024 * 1024);
  let path: string;
  before(async () => {
    world = await openWireWorld();
    path = `/v2/${REPOSITORY}/blobs/${await world.client.pushBlob(REPOSITORY, big)}`;
    // Its connection is kept, and counts.
    await scrape();
  });
  after(() => world[Symbol.asyncDispose]());

  const scrape = async (): Promise<string> => (await world.client.send('GET', '/metrics')).body.toString();
  const descriptors = (): number => readdirSync('/proc/self/fd').length;

  async function inBatches(count: number, one: (index: number) => Promise<void>): Promise<void> {
    for (let done = 0; done < count; done += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => one(done + index)));
    }
  }

  /** Not a file of the store, not a socket, not a request that still writes. */
  async function assertNothingLeft(baseline: number): Promise<void> {
    await eventually(
      async () =>
        world.openFiles().length === 0 &&
        descriptors() <= baseline &&
        /^drift_uploads_in_flight 0$/m.test(await scrape()),
      () => `${descriptors()} descriptors, ${baseline} before; files: ${world.openFiles().join()}`,
    );
  }

  it('E5 some hundred GETs, whole, in one range or several, cut at any moment, leave nothing open', async () => {
    const baseline = descriptors();
    const ranges = ['', 'Range: bytes=1000-\r\n', 'Range: bytes=0-99,1000-4000000,5000000-\r\n'];
    await inBatches(320, (index) => {
      const request = `GET ${path} HTTP/1.1\r\n${AUTH}${ranges[index % 3]}\r\n`;
      return hangUp(world.port, request, index % 4 === 0 ? 'sending' : 'first bytes');
    });
    await assertNothingLeft(baseline);
    const whole = await world.client.send('GET', path);
    assert.equal(whole.body.equals(big), true);
  });

  it('E5 some hundred PATCHes, cut in the middle, leave nothing open and each upload can go on from where it stands', async () => {
    const bytes = randomBytes(64 * 1024);
    const locations = await Promise.all(
      Array.from({ length: AT_ONCE }, () => world.client.startUpload(REPOSITORY)),
    );
    const baseline = descriptors();
    await inBatches(160, async (index) => {
      const location = locations[index % AT_ONCE] ?? '';
      const framing = index % 2 === 0 ? 'Content-Length: 900000' : 'Transfer-Encoding: chunked';
      const head = `PATCH ${location} HTTP/1.1\r\n${AUTH}${framing}\r\n\r\n`;
      const body = index % 2 === 0 ? bytes.subarray(0, 3000) : Buffer.from(`bb8\r\n${'x'.repeat(3000)}\r\n`);
      await hangUp(world.port, Buffer.concat([Buffer.from(head), body]), 'sending');
    });
    await assertNothingLeft(baseline);
    for (const location of locations) {
      const status = await expectAnswer(world.client.send('GET', location), {
        status: 204,
        range: /^0-\d+$/,
      });
      const id = location.split('/').at(-1) as never;
      const { sizeBytes } = (await world.registry.blobs.staged(id)) ?? { sizeBytes: -1 };
      assert.equal(status.headers['range'], `0-${Math.max(sizeBytes - 1, 0)}`);
      await expectAnswer(world.client.send('DELETE', location), { status: 204 });
    }
    assert.deepEqual((await world.registry.blobs.listStaged(null, 10)).entries, []);
  });

  it('E5 monolithic pushes, cut in the middle, leave no staged bytes behind', async () => {
    const baseline = descriptors();
    await inBatches(64, (index) => {
      const bytes = randomBytes(2000);
      const target = `/v2/${REPOSITORY}/blobs/uploads/?digest=${sha256(bytes)}`;
      const head = `POST ${target} HTTP/1.1\r\n${AUTH}Content-Length: ${3000 + index}\r\n\r\n`;
      return hangUp(world.port, Buffer.concat([Buffer.from(head), bytes]), 'sending');
    });
    await assertNothingLeft(baseline);
    await eventually(
      async () => (await world.registry.blobs.listStaged(null, 10)).entries.length === 0,
      () => 'staged bytes are left',
    );
  });

  it('E5 manifests and token forms, cut in the middle, leave nothing open', async () => {
    const baseline = descriptors();
    const form = 'Content-Type: application/x-www-form-urlencoded\r\n';
    await inBatches(64, (index) => {
      const head =
        index % 2 === 0
          ? `PUT /v2/${REPOSITORY}/manifests/cut HTTP/1.1\r\n${AUTH}`
          : `POST /token HTTP/1.1\r\nHost: r\r\n${form}`;
      return hangUp(world.port, `${head}Content-Length: 4000\r\n\r\n{"schemaVersion":2`, 'sending');
    });
    await assertNothingLeft(baseline);
  });
});

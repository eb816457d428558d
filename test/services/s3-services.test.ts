import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { SLOW_DOWN, startFaultProxy } from '../harness/fault-proxy.ts';
import { startMinio } from '../harness/minio.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { startVersitygw } from '../harness/versitygw.ts';

const OBJECT = { Key: 'some/object', Body: 'its bytes' };

for (const [name, startServer] of [
  ['MinIO', startMinio],
  ['versitygw', startVersitygw],
] as const) {
  describe(`${name}, as tests start it`, () => {
    let server: S3Service;
    before(async () => {
      server = await startServer();
    });
    after(() => server[Symbol.asyncDispose]());

    it('an object, after the server was killed and started again, is still there', async () => {
      const Bucket = await server.createBucket();
      await put(Bucket);
      await server.kill();
      await assert.rejects(fetch(server.endpoint));
      await server.start();
      assert.equal(await get(Bucket), OBJECT.Body);
    });

    it('a stopped server, as its processes are, takes connections and answers none until it goes on', async () => {
      const Bucket = await server.createBucket();
      await put(Bucket);
      server.pause();
      await assert.rejects(fetch(server.endpoint, { signal: AbortSignal.timeout(200) }), {
        name: 'TimeoutError',
      });
      server.resume();
      assert.equal(await get(Bucket), OBJECT.Body);
    });

    it('a signed request, through a proxy that can fail, is the same to the server', async () => {
      await using proxy = await startFaultProxy({ targetPort: portOf(server.endpoint), protocol: 'http' });
      const Bucket = await server.createBucket();
      const client = server.openClient({ endpoint: proxy.through(server.endpoint) });
      // Large enough that the client asks first whether it may send it.
      const Body = Buffer.alloc(3 * 1024 * 1024, 'x');
      await client.send(new PutObjectCommand({ Bucket, Key: 'large', Body }));
      const answer = await client.send(new GetObjectCommand({ Bucket, Key: 'large' }));
      assert.deepEqual(Buffer.from((await answer.Body?.transformToByteArray()) ?? []), Body);
      await proxy.set(SLOW_DOWN, { method: 'PUT' });
      await assert.rejects(client.send(new PutObjectCommand({ Bucket, Key: 'more', Body })), {
        name: 'SlowDown',
      });
      assert.ok(proxy.met > 1, 'the client did not try again');
      client.destroy();
    });

    async function put(Bucket: string): Promise<void> {
      const client = server.openClient();
      await client.send(new PutObjectCommand({ Bucket, ...OBJECT }));
      client.destroy();
    }

    async function get(Bucket: string): Promise<string | undefined> {
      const client = server.openClient();
      const answer = await client.send(new GetObjectCommand({ Bucket, Key: OBJECT.Key }));
      const text = await answer.Body?.transformToString();
      client.destroy();
      return text;
    }
  });
}

function portOf(endpoint: string): number {
  return Number(new URL(endpoint).port);
}

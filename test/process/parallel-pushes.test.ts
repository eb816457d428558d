import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { globSync, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { spawnDrift } from '../harness/spawn-drift.ts';
import { ADMIN, basic, sha256, V2Client } from '../v2/v2-client.ts';

describe('H3, the same blob at once', () => {
  it('H3 pushed 16 times in parallel over the workers of the whole program, every push is 201, one copy is kept, no reader sees a part', async () => {
    const drift = await spawnDrift({
      env: {
        DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}`,
        DRIFT_LOG: 'warn,process=info',
      },
    });
    const port = Number(new URL(drift.registryUrl).port);
    const clients = Array.from({ length: 6 }, () => new V2Client(port));
    try {
      const bytes = randomBytes(300_000);
      const digest = sha256(bytes);
      let pushing = true;
      const seen = new Set<string>();
      const reader = (async () => {
        while (pushing) {
          const got = await fetch(`${drift.registryUrl}/v2/ghost/r0/blobs/${digest}`, {
            headers: { authorization: basic(ADMIN) },
          });
          const body = Buffer.from(await got.arrayBuffer());
          seen.add(got.status === 200 ? `200 ${body.equals(bytes)}` : `${got.status}`);
        }
      })();
      const pushes = Array.from({ length: 16 }, async (_, index) => {
        const client = clients[index % clients.length] as V2Client;
        const repository = `ghost/r${index % 3}`;
        const location = await client.startUpload(repository);
        if (index % 2 === 0) await client.send('PATCH', location, { body: [bytes] });
        const body = index % 2 === 0 ? {} : { body: bytes };
        return (await client.send('PUT', `${location}?digest=${digest}`, body)).status;
      });
      assert.deepEqual(new Set(await Promise.all(pushes)), new Set([201]));
      pushing = false;
      await reader;
      seen.delete('404');
      assert.deepEqual(
        [...seen].filter((each) => each !== '200 true'),
        [],
      );
      for (const repository of ['ghost/r0', 'ghost/r1', 'ghost/r2']) {
        const got = await (clients[0] as V2Client).send('GET', `/v2/${repository}/blobs/${digest}`);
        assert.equal(got.body.equals(bytes), true);
      }
      const files = globSync('{blobs,uploads}/**/*', { cwd: drift.dataDirectory }).filter((entry) =>
        lstatSync(join(drift.dataDirectory, entry)).isFile(),
      );
      assert.deepEqual(files, [`blobs/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`]);
    } finally {
      for (const client of clients) client.close();
      await drift.stop();
    }
  });
});

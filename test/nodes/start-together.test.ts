import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { basic, openConnection } from '../harness/http-connection.ts';
import { type Postgres, startPostgres } from '../harness/postgres.ts';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const NODES = 3;

describe('nodes that start at the same moment on an empty database', { timeout: 120_000 }, () => {
  let postgres: Postgres;
  let nodes: readonly SpawnedDrift[];

  before(async () => {
    postgres = await startPostgres({ durable: false });
    const env = {
      DRIFT_DATABASE_BACKEND: 'postgres',
      DRIFT_DATABASE_URL: await postgres.createDatabase(),
      DRIFT_DATABASE_PARTITIONS: '2',
    };
    nodes = await Promise.all(Array.from({ length: NODES }, () => spawnDrift({ env })));
  });

  after(async () => {
    await Promise.all(nodes.map((node) => node.kill()));
    await postgres[Symbol.asyncDispose]();
  });

  function printedPasswords(): readonly string[] {
    return nodes.flatMap((node) =>
      node.output().flatMap((line) => /password {2}(\S+)/.exec(line)?.[1] ?? []),
    );
  }

  it('one administrator is made, and its password printed once', () => {
    assert.equal(printedPasswords().length, 1);
  });

  it('its password, and a token that any of them gave, opens each of them', async () => {
    const headers = basic('admin', printedPasswords()[0] ?? '');
    const scope = 'service=drift-registry&scope=registry:catalog:*';
    const tokens: string[] = [];
    // All at once: no two may sign with keys of their own that the others do not know.
    const answers = await Promise.all(
      nodes.map(async (node) => {
        const connection = openConnection(node.registryUrl);
        const answer = await connection.ask(`/token?${scope}`, { headers });
        connection.close();
        return answer;
      }),
    );
    for (const answer of answers) {
      assert.equal(answer.status, 200, answer.text);
      tokens.push((JSON.parse(answer.text) as { token: string }).token);
    }
    const keys = new Set(
      tokens.map((token) => Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()),
    );
    assert.equal(keys.size, 1);
    for (const node of nodes) {
      const connection = openConnection(node.registryUrl);
      for (const token of tokens) {
        const catalog = await connection.ask('/v2/_catalog', {
          headers: { Authorization: `Bearer ${token}` },
        });
        assert.equal(catalog.status, 200, catalog.text);
      }
      connection.close();
    }
  });

  it('wrong passwords, tried on one node, slow the account down on the others', async () => {
    const wrong = basic('nobody', 'not-the-password');
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 4 * NODES; attempt += 1) {
      const connection = openConnection(nodes[attempt % NODES]?.registryUrl ?? '');
      statuses.push((await connection.ask('/v2/', { headers: wrong })).status);
      connection.close();
    }
    // Six wrong ones in all are slowed, however they were spread.
    assert.ok(
      statuses.slice(0, 5).every((status) => status === 401),
      statuses.join(' '),
    );
    assert.ok(statuses.includes(429), statuses.join(' '));
  });
});

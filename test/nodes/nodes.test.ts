import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { newUploadId } from '../../src/blobs/upload-id.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import { type HttpConnection, openConnection } from '../harness/http-connection.ts';
import {
  ADMIN_HEADERS,
  eventually,
  hangingPatch,
  type NodesWorld,
  openNodesWorld,
} from '../harness/nodes.ts';
import { digestOf } from '../harness/push-image.ts';
import type { SpawnedDrift } from '../harness/spawn-drift.ts';

const headers = ADMIN_HEADERS;
const REPOSITORY = 'ghost/demo';
/** A lease, the look of others for it, and room for a slow machine: "within seconds". */
const PASSES_ON_MILLISECONDS = 30_000;

describe('three nodes on one PostgreSQL', { timeout: 240_000 }, () => {
  let world: NodesWorld;
  let nodes: readonly SpawnedDrift[];
  let connections: readonly HttpConnection[];

  before(async () => {
    world = await openNodesWorld();
    const started: SpawnedDrift[] = [];
    for (const name of ['one', 'two', 'three']) started.push(await world.start(name));
    nodes = started;
    connections = nodes.map((node) => openConnection(node.registryUrl));
  });

  after(async () => {
    for (const connection of connections) connection.close();
    await world[Symbol.asyncDispose]();
  });

  const at = (index: number): HttpConnection => connections[index] as HttpConnection;
  const manifestPath = (tag: string): string => `/v2/${REPOSITORY}/manifests/${tag}`;

  async function putManifest(connection: HttpConnection, tag: string): Promise<string> {
    const body = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [],
        annotations: { tag },
      }),
    );
    const put = await connection.ask(manifestPath(tag), {
      method: 'PUT',
      headers: { ...headers, 'Content-Type': 'application/vnd.oci.image.index.v1+json' },
      body,
    });
    assert.equal(put.status, 201, put.text);
    return digestOf(body);
  }

  async function beginUpload(index: number): Promise<string> {
    const begun = await at(index).ask(`/v2/${REPOSITORY}/blobs/uploads/`, { method: 'POST', headers });
    assert.equal(begun.status, 202);
    return String(begun.headers.location);
  }

  it('node list, asked of any, shows all three with version, schema, clock and address', async () => {
    const listed = await eventually(
      () => world.list(),
      (all) => all.length === 3,
    );
    assert.deepEqual(listed.map(({ name }) => name).toSorted(), ['one', 'three', 'two']);
    for (const node of listed) {
      assert.equal(node.state, 'serving');
      assert.ok(node.seenSecondsAgo < 60);
      // One machine, one clock.
      assert.ok(Math.abs(node.clockSkewMilliseconds) < 1000);
      assert.match(node.addresses[0] ?? '', /^http:\/\/127\.0\.0\.1:\d+$/);
      assert.ok(node.schemaVersion >= 5);
    }
    assert.match(await world.node('list'), /^NAME +ID +VERSION +STATE +SEEN +CLOCK +ADDRESS\n/);
  });

  it('a tag, set on one and moved on another, is what the third answers', async () => {
    await putManifest(at(0), 'latest');
    const body = await putManifest(at(1), 'other');
    const first = await at(2).ask(manifestPath('latest'), { headers });
    assert.equal(first.status, 200);
    assert.equal(
      (await at(2).ask(manifestPath('other'), { headers })).headers['docker-content-digest'],
      body,
    );
    assert.equal((await at(1).ask(manifestPath('latest'), { method: 'DELETE', headers })).status, 202);
    assert.equal((await at(2).ask(manifestPath('latest'), { headers })).status, 404);
  });

  it('an access token of one node opens the others', async () => {
    const query = `service=drift-registry&scope=repository:${REPOSITORY}:pull`;
    const issued = await at(0).ask(`/token?${query}`, { headers });
    const { token } = JSON.parse(issued.text) as { token: string };
    for (const connection of connections) {
      const answer = await connection.ask(manifestPath('other'), {
        headers: { Authorization: `Bearer ${token}` },
      });
      assert.equal(answer.status, 200);
    }
  });

  it('log lines carry the name of their node', () => {
    for (const [index, name] of ['one', 'two', 'three'].entries()) {
      assert.deepEqual(new Set(nodes[index]?.logs().map((line) => line['node'])), new Set([name]));
    }
  });

  it('drain, of a node, makes it not ready while it goes on serving; undo makes it ready', async () => {
    const ready = async () => (await at(1).ask('/readyz')).status;
    assert.equal(await ready(), 200);
    assert.match(await world.node('drain', 'two'), /^two \(.+\) drains/);
    await eventually(ready, (status) => status === 503);
    assert.equal((await at(1).ask(manifestPath('other'), { headers })).status, 200);
    assert.equal((await at(0).ask('/readyz')).status, 200);
    assert.equal((await world.list()).find(({ name }) => name === 'two')?.state, 'draining');
    await nodes[1]?.waitForLog(({ msg }) => msg === 'draining: not ready, takes no job');
    await world.node('drain', 'two', '--undo');
    await eventually(ready, (status) => status === 200);
    await nodes[1]?.waitForLog(({ msg }) => msg === 'serving again');
  });

  it('drain, of a node that is not there, says so', async () => {
    await assert.rejects(world.node('drain', 'nobody'), /no node that serves is called "nobody"/);
  });

  it('an upload, held by a request on one node, is given up to a request on another', async () => {
    const place = await beginUpload(0);
    const hanging = await hangingPatch({ url: nodes[0]?.registryUrl ?? '', connection: at(0) }, place);
    assert.equal((await at(1).ask(place, { method: 'DELETE', headers })).status, 204);
    assert.equal(await hanging.status, 409);
  });

  it("a node that died in the middle of a job: the job's lease passes on within seconds", async () => {
    const id = newUploadId();
    const times = { startedAt: 1, expiresAt: 2 };
    const nothing = { offsetBytes: 0, digestSoFar: null, hashedInRun: null, closingAs: null };
    const owner = { repository: REPOSITORY as RepositoryName, principal: 'a' };
    await eventually(
      () =>
        world.meta.transaction(async (tx) => {
          // The rest after its last run ends, and the row is as a dead node leaves it.
          await tx.leases.free('job:expire-uploads', '', 0);
          return tx.leases.take('job:expire-uploads', 'dead', 10_000);
        }),
      (fence) => fence !== null,
    );
    await world.meta.transaction((tx) =>
      tx.uploads.insert({ id, ...owner, algorithm: 'sha256', ...nothing, ...times }),
    );
    const died = performance.now();
    await eventually(
      () => world.meta.read.uploads.find(id),
      (row) => row === null,
    );
    assert.ok(performance.now() - died < PASSES_ON_MILLISECONDS);
  });

  it('a node killed by SIGKILL: its upload goes on elsewhere within seconds, and it is shown as gone', async () => {
    const place = await beginUpload(2);
    const hanging = await hangingPatch({ url: nodes[2]?.registryUrl ?? '', connection: at(2) }, place);
    await nodes[2]?.kill();
    const killed = performance.now();
    assert.equal((await at(0).ask(place, { method: 'DELETE', headers })).status, 204);
    assert.ok(performance.now() - killed < PASSES_ON_MILLISECONDS);
    assert.equal(await hanging.status, null);
    await eventually(
      () => world.list(),
      (all) => all.find(({ name }) => name === 'three')?.state === 'gone',
    );
  });

  it('a node that stops, is no longer listed', async () => {
    await nodes[1]?.stop();
    assert.deepEqual((await world.list()).map(({ name }) => name).toSorted(), ['one', 'three']);
  });
});

it('a node, whose database a newer version has changed so that it cannot go on, ends and says so', async () => {
  await using world = await openNodesWorld();
  const node = await world.start('old');
  const client = new pg.Client({ connectionString: world.url });
  await client.connect();
  await client.query("insert into schema_migrations values (999, 'incompatible', 1, 999)");
  await client.end();
  assert.equal((await node.ended).code, 76);
  assert.match(node.output().join('\n'), /^drift: The ledger .* has schema 999/m);
});

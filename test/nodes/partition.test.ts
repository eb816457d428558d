import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { freePort } from '../harness/free-port.ts';
import { type Answer, type HttpConnection, openConnection } from '../harness/http-connection.ts';
import { type NetworkNamespace, openNetworkNamespace } from '../harness/network-namespace.ts';
import {
  ADMIN_HEADERS,
  eventually,
  hangingPatch,
  type NodesWorld,
  openNodesWorld,
} from '../harness/nodes.ts';
import { digestOf } from '../harness/push-image.ts';

const headers = ADMIN_HEADERS;
const NAMES = ['one', 'two', 'cut'] as const;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const PATH = '/v2/ghost/demo/manifests/latest';
/** What a request may take while the database is out of reach: the longest of its waits, and room for a slow machine. */
const ANSWER_MILLISECONDS_MAX = 15_000;

describe('three nodes, one of them cut off from the database and the others', { timeout: 300_000 }, () => {
  let world: NodesWorld;
  let networks: readonly NetworkNamespace[];
  let connections: readonly HttpConnection[];
  let urls: readonly string[];

  before(async () => {
    world = await openNodesWorld();
    networks = NAMES.map((_, index) => openNetworkNamespace(index + 1));
    const started: string[] = [];
    for (const [index, network] of networks.entries()) started.push(await startNode(network, index));
    urls = started;
    connections = urls.map((url) => openConnection(url));
  });

  after(async () => {
    for (const connection of connections) connection.close();
    await world[Symbol.asyncDispose]();
    for (const network of networks) await network[Symbol.asyncDispose]();
  });

  async function startNode(network: NetworkNamespace, index: number): Promise<string> {
    const database = new URL(world.url);
    database.host = await network.offer(world.postgres.port);
    const port = await freePort();
    const env = {
      DRIFT_DATABASE_URL: database.href,
      DRIFT_BIND_ADDR: `0.0.0.0:${port}`,
      DRIFT_UI_ADDR: '0.0.0.0:0',
    };
    await world.start(NAMES[index] ?? '', env, network.within);
    return `http://${network.address}:${port}`;
  }

  const at = (index: number): HttpConnection => connections[index] as HttpConnection;
  const CUT = 2;

  async function put(index: number, content: string): Promise<string> {
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [],
      annotations: { content },
    });
    const answer = await at(index).ask(PATH, {
      method: 'PUT',
      headers: { ...headers, 'Content-Type': INDEX },
      body,
    });
    assert.equal(answer.status, 201, answer.text);
    return digestOf(Buffer.from(body));
  }

  async function timed(ask: Promise<Answer>): Promise<Answer> {
    const began = performance.now();
    const answer = await ask;
    assert.ok(performance.now() - began < ANSWER_MILLISECONDS_MAX);
    return answer;
  }

  /** Of those that the cut node has in the database and that are not past. */
  async function leasesOfCutNode(): Promise<number> {
    const node = (await world.list()).find(({ name }) => name === 'cut');
    const client = new pg.Client({ connectionString: world.url });
    await client.connect();
    const { rows } = await client.query(
      `select count(*)::int as held from leases
        where starts_with(holder, $1) and "until" > extract(epoch from clock_timestamp()) * 1000`,
      [`${node?.id}/`],
    );
    await client.end();
    return Number(rows[0]?.held);
  }

  it('all three, with the line in order, serve what one of them was given', async () => {
    const digest = await put(0, 'before');
    for (const connection of connections) {
      const answer = await connection.ask(PATH, { headers });
      assert.equal(answer.headers['docker-content-digest'], digest);
      assert.equal((await connection.ask('/readyz')).status, 200);
    }
  });

  it('the cut node serves nothing stale, takes no lease, and lets go what it held', async () => {
    const held = await hangingPatchAtCut();
    networks[CUT]?.cut();
    const digest = await put(0, 'after');
    // From the first moment on: what it says now would be wrong.
    for (let asked = 0; asked < 20; asked += 1) {
      const answer = await timed(at(CUT).ask(PATH, { headers }));
      assert.equal(answer.status, 503, answer.text);
      assert.ok(Number(answer.headers['retry-after']) > 0);
    }
    assert.equal((await timed(at(CUT).ask('/readyz'))).status, 503);
    assert.equal((await timed(at(CUT).ask('/healthz'))).status, 200);
    // The others go on, with the upload that it held, too.
    assert.equal((await at(1).ask(PATH, { headers })).headers['docker-content-digest'], digest);
    assert.equal((await at(1).ask(held.place, { method: 'DELETE', headers })).status, 204);
    assert.ok([409, 503].includes((await held.status) ?? 0), 'its holder gave up by itself');
    await eventually(
      () => world.list(),
      (nodes) => nodes.find(({ name }) => name === 'cut')?.state === 'gone',
    );
    await eventually(leasesOfCutNode, (count) => count === 0);
  });

  it('the cut node, once the line is mended, serves what is true now, without a restart', async () => {
    networks[CUT]?.mend();
    await eventually(
      () => at(CUT).ask('/readyz'),
      ({ status }) => status === 200,
    );
    const truth = (await at(0).ask(PATH, { headers })).headers['docker-content-digest'];
    const answer = await at(CUT).ask(PATH, { headers });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['docker-content-digest'], truth);
    await eventually(
      () => world.list(),
      (nodes) => nodes.every(({ state }) => state === 'serving'),
    );
  });

  async function hangingPatchAtCut(): Promise<{
    readonly place: string;
    readonly status: Promise<number | null>;
  }> {
    const begun = await at(CUT).ask('/v2/ghost/demo/blobs/uploads/', { method: 'POST', headers });
    const place = new URL(String(begun.headers.location), urls[CUT]).pathname;
    return { place, ...(await hangingPatch({ url: urls[CUT] ?? '', connection: at(CUT) }, place)) };
  }
});

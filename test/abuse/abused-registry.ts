import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';
import { ADMIN, basic, V2Client } from '../v2/v2-client.ts';

/** A registry as it is shipped, in processes of its own, with something in it that abuse must not reach. */
export interface AbusedRegistry extends AsyncDisposable {
  readonly drift: SpawnedDrift;
  readonly port: number;
  readonly client: V2Client;
  /** What `{name}` stands for in hostile requests. */
  readonly places: Readonly<Record<string, string>>;
  readonly fill: (text: string) => string;
  /** Fails when a process ended, an error was logged, or what was stored does not come back as it was. */
  assertUnharmed(): Promise<void>;
}

const KEEP = 'abuse/keep';
const FOREIGN = 'other/secret';
const SCOPES = [
  `repository:${KEEP}:pull`,
  ...['abuse/one', 'abuse/two', 'abuse/none', 'a'].map((name) => `repository:${name}:pull,push,delete`),
  'registry:catalog:*',
];

export async function openAbusedRegistry(
  env: Readonly<Record<string, string>> = {},
): Promise<AbusedRegistry> {
  const drift = await spawnDrift({
    env: {
      DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}`,
      DRIFT_ACCESS_TOKEN_LIFETIME: '2h',
      DRIFT_LOG: 'info,http=warn,access=warn',
      ...env,
    },
  });
  const port = Number(new URL(drift.registryUrl).port);
  const client = new V2Client(port);
  const kept = await client.pushImage(KEEP, 'latest', { content: 'kept' });
  const layer = Buffer.from('layer kept');
  await client.pushImage(FOREIGN, 'latest', { content: 'foreign' });
  for (const name of ['abuse/one', 'abuse/two']) await client.pushImage(name, 'latest', { content: 'kept' });
  const places = await placesOf(client, { blob: kept.layer, manifest: kept.digest, blobSize: layer.length });
  return {
    drift,
    port,
    client,
    places,
    fill: (text) => text.replace(/\{(\w+)\}/g, (whole, name: string) => places[name] ?? whole),
    assertUnharmed: async () => {
      const manifest = await client.send('GET', `/v2/${KEEP}/manifests/latest`);
      assert.deepEqual(manifest.body, kept.bytes);
      const blob = await client.send('GET', `/v2/${KEEP}/blobs/${kept.layer}`);
      assert.deepEqual(blob.body, layer);
      // A crash, a worker that was replaced and every fault of a request are errors in the log.
      const bad = drift.logs().filter((line) => ['error', 'fatal', 50, 60].includes(line['level'] as string));
      assert.deepEqual(bad.slice(0, 3), []);
      const starts = drift.logs().filter((line) => line.msg === 'replacement is ready');
      assert.deepEqual(starts, []);
    },
    [Symbol.asyncDispose]: async () => {
      client.close();
      await drift.stop();
    },
  };
}

async function placesOf(
  client: V2Client,
  stored: { readonly blob: string; readonly manifest: string; readonly blobSize: number },
): Promise<Readonly<Record<string, string>>> {
  const token = await tokenFor(client, SCOPES);
  const narrow = await tokenFor(client, ['repository:abuse/none:pull']);
  const uploads: string[] = [];
  for (let count = 0; count < 4; count++)
    uploads.push((await client.startUpload('abuse/one')).split('/').at(-1) ?? '');
  const foreign = (await client.startUpload(FOREIGN)).split('/').at(-1) ?? '';
  return {
    ...stored,
    blobSize: String(stored.blobSize),
    emptyBlob: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    token,
    narrow,
    ...forgeries(token),
    ...Object.fromEntries(uploads.map((id, at) => [`upload${at}`, id])),
    foreignUpload: foreign,
  };
}

async function tokenFor(client: V2Client, scopes: readonly string[]): Promise<string> {
  const query = new URLSearchParams({ service: 'drift-registry', account: ADMIN.name });
  for (const scope of scopes) query.append('scope', scope);
  const answer = await client.send('GET', `/token?${query.toString()}`, {
    headers: { authorization: basic(ADMIN) },
  });
  assert.equal(answer.status, 200, answer.body.toString());
  return (answer.json as unknown as { readonly token: string }).token;
}

/** What is not signed, signed with the wrong key, or changed after it was signed. */
function forgeries(token: string): Readonly<Record<string, string>> {
  const [head = '', claims = '', signature = ''] = token.split('.');
  const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>;
  const payload = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>;
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const none = encode({ ...header, alg: 'none' });
  const hmac = encode({ ...header, alg: 'HS256' });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const foreign = sign('sha256', Buffer.from(`${head}.${claims}`), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  return {
    unsigned: `${none}.${claims}.`,
    expired: `${head}.${encode({ ...payload, exp: 1 })}.${signature}`,
    rewritten: `${head}.${encode({ ...payload, sub: 'root' })}.${signature}`,
    otherKey: `${head}.${claims}.${foreign.toString('base64url')}`,
    confused: `${hmac}.${claims}.${createHmac('sha256', 'x').update(`${hmac}.${claims}`).digest('base64url')}`,
  };
}

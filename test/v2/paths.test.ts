import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { OWNER, PULLER, STRANGER, sha256 } from './v2-client.ts';
import { startV2, type V2Server } from './v2-server.ts';

describe('paths', () => {
  let v2: V2Server;
  before(async () => {
    v2 = await startV2();
  });
  after(() => v2.stop());

  it('the ping, with and without its slash, is {} for those with credentials and a challenge for others', async () => {
    for (const path of ['/v2', '/v2/']) {
      const answer = await v2.client.send('GET', path, { as: STRANGER });
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.json, {});
      assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
      const refused = await v2.client.send('GET', path, { as: null });
      assert.equal(refused.status, 401);
      assert.match(
        String(refused.headers['www-authenticate']),
        /^Bearer realm="http:\/\/[^"]+\/token",service="[^"]+"/,
      );
      assert.equal(refused.headers['docker-distribution-api-version'], 'registry/2.0');
    }
  });

  const names = [
    'blobs/uploads',
    'manifests/manifests',
    'tags/list',
    'a/tags/list/blobs',
    'referrers/x/manifests',
    'uploads',
  ];
  for (const name of names) {
    it(`a repository called ${name} works like any other`, async () => {
      const image = await v2.client.pushImage(name, 'latest', { content: name });
      const pulled = await v2.client.send('GET', `/v2/${name}/manifests/latest`);
      assert.deepEqual(pulled.body, image.bytes);
      assert.deepEqual((await v2.client.send('GET', `/v2/${name}/tags/list`)).json, {
        name,
        tags: ['latest'],
      });
      assert.equal((await v2.client.send('GET', `/v2/${name}/referrers/${image.digest}`)).status, 200);
    });
  }

  const wrongNames = [
    'Ghost/demo',
    'ghost/-demo',
    'ghost//demo',
    'ghost/de..mo',
    '_ghost',
    `g/${'x'.repeat(254)}`,
    'ghost/%C3%A9',
  ];
  for (const name of wrongNames) {
    it(`a repository called ${name.slice(0, 20)} is refused as a name`, async () => {
      for (const rest of ['manifests/latest', 'tags/list', `blobs/${sha256('x')}`]) {
        const answer = await v2.client.send('GET', `/v2/${name}/${rest}`);
        assert.equal(answer.status, 400);
      }
      assert.equal((await v2.client.send('POST', `/v2/${name}/blobs/uploads/`)).status, 400);
    });
  }

  const wrongPaths = [
    '/v2/ghost/../manifests/latest',
    '/v2/ghost/%2e%2e/manifests/latest',
    '/v2/ghost%2Fdemo/manifests/latest',
    '/v2/ghost/demo/manifests/a%5Cb',
    '/v2/ghost/demo/manifests/a\\b',
    '/v2/ghost/demo/manifests/%FF',
    '/v2/ghost/demo/manifests/.dot',
    `/v2/ghost/demo/manifests/${'t'.repeat(129)}`,
    '/v2/ghost/demo/blobs/latest',
    `/v2/ghost/demo/blobs/sha256:${'A'.repeat(64)}`,
    '/v2/ghost/demo/blobs/md5:d41d8cd98f00b204e9800998ecf8427e',
    '/v2/ghost/demo/blobs/sha256:..%2f..%2fx',
  ];
  const expectRefused = async (path: string): Promise<void> => {
    const answer = await v2.client.send('GET', path);
    assert.equal(answer.status, 400);
    assert.match(answer.code ?? '', /^[A-Z_]+$/);
  };
  for (const path of wrongPaths) {
    it(`${path.slice(0, 60)} is 400 and nothing else`, () => expectRefused(path));
  }

  it('a path with a zero byte or a percent sign alone is 400 and nothing else', async () => {
    await expectRefused('/v2/ghost/demo/manifests/%00');
    await expectRefused('/v2/ghost/demo/manifests/%');
  });

  it('a path that is no endpoint is 404, and 401 to callers without credentials', async () => {
    for (const path of [
      '/v2/nothing',
      '/v2/ghost/demo',
      '/v2/ghost/demo/tags',
      '/v2/ghost/demo/manifests/',
      '/v2/_catalog/x',
    ]) {
      const answer = await v2.client.send('GET', path);
      assert.equal(answer.status, 404, path);
      assert.equal((await v2.client.send('GET', path, { as: null })).status, 401, path);
    }
  });

  it('a method that is not there is 405 with Allow, and 401 to callers without credentials', async () => {
    const cases = [
      ['POST', '/v2/', 'GET, HEAD'],
      ['DELETE', '/v2/ghost/demo/tags/list', 'GET, HEAD'],
      ['POST', '/v2/ghost/demo/manifests/latest', 'GET, HEAD, PUT, DELETE'],
      ['PUT', `/v2/ghost/demo/blobs/${sha256('x')}`, 'GET, HEAD, DELETE'],
      ['GET', '/v2/ghost/demo/blobs/uploads/', 'POST'],
      ['OPTIONS', '/v2/_catalog', 'GET, HEAD'],
    ] as const;
    for (const [method, path, allow] of cases) {
      const answer = await v2.client.send(method, path, { as: OWNER });
      assert.equal(answer.status, 405, path);
      assert.equal(answer.headers.allow, allow);
      assert.equal((await v2.client.send(method, path, { as: null })).status, 401, path);
    }
  });

  it('a malformed reference, for those who may not pull there, is the same refusal as any other', async () => {
    const malformed = await v2.client.send('GET', '/v2/ghost/demo/manifests/sha256:bad', { as: STRANGER });
    const absent = await v2.client.send('GET', '/v2/ghost/demo/manifests/absent', { as: STRANGER });
    assert.equal(malformed.status, 403);
    assert.deepEqual(malformed.json, absent.json);
  });

  it('ns, when it names this registry, changes nothing; when it names another, nothing is found', async () => {
    const image = await v2.client.pushImage('ghost/ns', 'latest');
    const path = `/v2/ghost/ns/manifests/${image.digest}`;
    const headers = { host: 'registry.example.com:5000' };
    for (const ns of ['registry.example.com:5000', 'Registry.Example.COM:5000', '']) {
      assert.equal(
        (await v2.client.send('GET', `${path}?ns=${ns}`, { headers, as: PULLER })).status,
        200,
        ns,
      );
    }
    const scoped = await v2.client.send('GET', `${path}?ns=registry.example.com:5000`, {
      headers,
      as: PULLER,
    });
    assert.equal(scoped.headers['oci-namespace'], 'registry.example.com:5000');
    for (const ns of ['docker.io', 'registry.example.com', 'registry.example.com:5000/x', '%20']) {
      const answer = await v2.client.send('GET', `${path}?ns=${ns}`, { headers, as: PULLER });
      assert.equal(answer.status, 404, ns);
      assert.equal(answer.code, 'NAME_UNKNOWN');
    }
  });

  it('_oci/ext/discover lists the extensions, for the registry and for a repository', async () => {
    for (const path of ['/v2/_oci/ext/discover', '/v2/ghost/demo/_oci/ext/discover']) {
      const answer = await v2.client.send('GET', path);
      assert.equal(answer.status, 200);
      assert.ok(answer.json.extensions.some((extension: { name: string }) => extension.name === '_oci'));
      assert.ok(
        answer.json.extensions.every((extension: { endpoints: unknown }) =>
          Array.isArray(extension.endpoints),
        ),
      );
    }
  });

  it('HEAD, wherever there is a GET, is the same without a body', async () => {
    await v2.client.pushImage('ghost/heads', 'latest');
    for (const path of [
      '/v2/',
      '/v2/_catalog',
      '/v2/ghost/heads/tags/list',
      `/v2/ghost/heads/referrers/${sha256('x')}`,
    ]) {
      const get = await v2.client.send('GET', path);
      const head = await v2.client.send('HEAD', path);
      assert.equal(head.status, get.status);
      assert.equal(head.headers['content-length'], String(get.body.length));
      assert.equal(head.headers['content-type'], get.headers['content-type']);
      assert.equal(head.body.length, 0);
    }
  });
});

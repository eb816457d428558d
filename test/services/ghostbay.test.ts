import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { type GhostbayDouble, startGhostbay } from '../harness/ghostbay.ts';

/** What a GhostBay 0.1.0 was seen to do: the driver is written for exactly this. */
describe('GhostBay double', () => {
  let double: GhostbayDouble;
  let bucket: string;
  const ask = (path: string, init?: RequestInit) => fetch(`${double.endpoint}${path}`, init);
  const put = (key: string, body: string | Buffer<ArrayBuffer>) =>
    ask(`${bucket}/${key}`, { method: 'PUT', body });
  const status = async (answer: Promise<Response>) => (await answer).status;

  before(async () => {
    double = await startGhostbay();
    bucket = '/some-bucket';
    assert.equal(await status(ask(bucket, { method: 'PUT' })), 200);
  });
  after(() => double.stop());

  it('an object, put unsigned, has its MD5 as ETag, and its length when it is read', async () => {
    const answer = await put('a.json', 'exact bytes');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('etag'), `"${createHash('md5').update('exact bytes').digest('hex')}"`);
    for (const method of ['GET', 'HEAD']) {
      const read = await ask(`${bucket}/a.json`, { method });
      assert.equal(read.headers.get('etag'), '"11"');
      assert.equal(read.headers.get('content-type'), 'application/json');
      assert.equal(await read.text(), method === 'GET' ? 'exact bytes' : '');
    }
  });

  it('a key, put twice, is answered 500 with its bytes exchanged; deleted before, 200', async () => {
    assert.equal(await status(put('twice', 'one')), 200);
    assert.equal(await status(put('twice', 'other')), 500);
    assert.equal(await (await ask(`${bucket}/twice`)).text(), 'other');
    assert.equal(await status(ask(`${bucket}/twice`, { method: 'DELETE' })), 204);
    assert.equal(await status(put('twice', 'third')), 200);
  });

  it('a range is answered 200 with the whole length, wrong bytes and a cut connection', async () => {
    await put('large', Buffer.alloc(100_000, 'x'));
    const answer = await ask(`${bucket}/large`, { headers: { Range: 'bytes=10-19' } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-length'), '100000');
    await assert.rejects(answer.arrayBuffer());
  });

  it('what is missing is JSON; its removal is no failure; a trailing slash is no bucket', async () => {
    const missing = await ask(`${bucket}/missing`);
    assert.equal(missing.status, 404);
    assert.equal(((await missing.json()) as { Code: string }).Code, 'NoSuchKey');
    assert.equal(await status(ask(`${bucket}/missing`, { method: 'HEAD' })), 404);
    assert.equal(await status(ask(`${bucket}/missing`, { method: 'DELETE' })), 204);
    const none = await ask('/no-such-bucket/key');
    assert.equal(((await none.json()) as { Code: string }).Code, 'NoSuchBucket');
    assert.equal(await status(ask(`${bucket}/`)), 404);
  });

  it('keys are paths: none below another one, none where a directory is left', async () => {
    assert.equal(await status(put('path', 'x')), 200);
    assert.equal(await status(put('path/below', 'x')), 500);
    assert.equal(await status(put('folder/file', 'x')), 200);
    await ask(`${bucket}/folder/file`, { method: 'DELETE' });
    assert.equal(await status(put('folder', 'x')), 500);
  });

  it('a listing is JSON of the first 1000 keys by LIKE, and never says that there are more', async () => {
    await ask('/lists', { method: 'PUT' });
    const keys = ['a_b', 'aXb', 'A%b', 'b', ...Array.from({ length: 1001 }, (_, index) => `n${index}`)];
    for (let start = 0; start < keys.length; start += 50) {
      const some = keys.slice(start, start + 50);
      await Promise.all(
        some.map((key) => ask(`/lists/${encodeURIComponent(key)}`, { method: 'PUT', body: 'x' })),
      );
    }
    const list = async (query: string) => {
      const answer = await ask(`/lists?list-type=2&${query}`);
      return (await answer.json()) as { Contents: { Key: string; Size: number }[]; IsTruncated: boolean };
    };
    const wild = await list('prefix=a_b');
    assert.deepEqual(
      wild.Contents.map(({ Key: key }) => key),
      ['A%b', 'aXb', 'a_b'],
    );
    const all = await list('prefix=n&start-after=n5&delimiter=/');
    assert.equal(all.Contents.length, 1000);
    assert.equal(all.IsTruncated, false);
    assert.equal(all.Contents[0]?.Key, 'n0');
  });

  it('a multipart upload takes JSON alone and gives the exact bytes', async () => {
    const begun = await ask(`${bucket}/parts?uploads`, { method: 'POST' });
    const { UploadId: id } = (await begun.json()) as { UploadId: string };
    assert.match(id, /^mpu_[0-9a-f-]{36}$/);
    for (const [index, body] of ['first ', 'second'].entries()) {
      const part = await ask(`${bucket}/parts?partNumber=${index + 1}&uploadId=${id}`, {
        method: 'PUT',
        body,
      });
      assert.equal(part.status, 200);
    }
    const complete = (body: string) =>
      status(ask(`${bucket}/parts?uploadId=${id}`, { method: 'POST', body }));
    assert.equal(await complete('<CompleteMultipartUpload/>'), 400);
    const parts = [1, 2].map((number) => ({ PartNumber: number, ETag: 'x' }));
    assert.equal(await complete(JSON.stringify({ CompleteMultipartUpload: { Part: parts } })), 200);
    assert.equal(await (await ask(`${bucket}/parts`)).text(), 'first second');
  });

  it('an answer is compressed for who accepts it, and has no length then', async () => {
    await put('text', 'x'.repeat(1000));
    const headersFor = (encoding: string) =>
      new Promise<NodeJS.Dict<string | string[]>>((resolve, reject) => {
        const options = { headers: { 'accept-encoding': encoding } };
        get(`${double.endpoint}${bucket}/text`, options, (answer) => {
          answer.resume();
          resolve(answer.headers);
        }).on('error', reject);
      });
    assert.equal((await headersFor('gzip'))['content-encoding'], 'gzip');
    assert.equal((await headersFor('identity'))['content-length'], '1000');
  });

  it('aws-chunked bodies stay as they came, and every body is held whole', async () => {
    const framed = '5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n';
    const headers = { 'content-encoding': 'aws-chunked' };
    await ask(`${bucket}/framed`, { method: 'PUT', body: framed, headers });
    assert.equal(await (await ask(`${bucket}/framed`)).text(), framed);
    assert.equal(double.bodyBytesMax(), 100_000);
  });
});

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { startMinio } from '../../../test/harness/minio.ts';
import { Bucket } from './bucket.ts';

it('signedHeaders, sent to a server that checks them, are accepted with the right keys alone', async (t) => {
  const minio = await startMinio();
  t.after(() => minio.stop());
  await minio.createBucket('signed');
  const { endpoint, accessKey, secretKey } = minio;
  const right = new Bucket({ endpoint, bucket: 'signed', credentials: { accessKey, secretKey } });
  const wrong = new Bucket({ endpoint, bucket: 'signed', credentials: { accessKey, secretKey: 'other' } });
  t.after(() => right.close());
  t.after(() => wrong.close());
  await right.put('blobs/4c/4c1a', [Buffer.from('by'), Buffer.from('tes')]);
  assert.equal((await right.get('blobs/4c/4c1a'))?.toString(), 'bytes');
  // Signed and understood, query and all; only that S3 answers it in XML.
  await assert.rejects(right.list('blobs/'), /is not its JSON/);
  await right.delete('blobs/4c/4c1a');
  await assert.rejects(wrong.put('blobs/4c/4c1a', [Buffer.from('bytes')]), /refuses the configured keys/);
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { forceBlob, stagedCommit } from '../../test/harness/staged-commit.ts';
import type { BlobLocation, BlobStore } from '../blobs/blob-store.ts';
import { openFsBlobStore } from '../blobs/fs/fs-blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { systemClock } from '../std/clock.ts';
import { commitBlob } from './commit-blob.ts';
import { fsck } from './fsck.ts';

const repository = 'org/app' as RepositoryName;

describe('fsck', () => {
  let directory: string;
  let meta: MetaStore;
  let blobs: BlobStore;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drift-fsck-'));
    meta = await openTemporaryMetaStore();
    blobs = await openFsBlobStore({ root: directory });
  });
  afterEach(async () => {
    await blobs.close();
    await meta.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function commit(text: string): Promise<Digest> {
    const deps = { meta, blobs, clock: systemClock, graceSeconds: 60, runId: 'run' };
    return (await commitBlob(deps, await stagedCommit(deps, { repository, bytes: Buffer.from(text) })))
      .digest;
  }

  async function findings(rehash = false): Promise<readonly string[]> {
    const found: string[] = [];
    for await (const finding of fsck({ meta, blobs }, { rehash, signal: new AbortController().signal })) {
      found.push(`${finding.severity} ${finding.kind}`);
    }
    return found;
  }

  it('fsck, of a sound registry, finds nothing', async () => {
    await commit('sound');
    assert.deepEqual(await findings(true), []);
  });

  it('fsck, when bytes are missing, tells which blob is damaged', async () => {
    const digest = await commit('missing');
    await blobs.delete((await meta.read.blobs.find(digest))?.location as BlobLocation);
    assert.deepEqual(await findings(), ['damage blob_missing']);
  });

  it('fsck, when the bytes are others, sees their size at once and their content with rehash', async () => {
    const digest = await commit('right');
    await forceBlob(blobs, Buffer.from('wrong'), digest);
    assert.deepEqual(await findings(), []);
    assert.deepEqual(await findings(true), ['damage blob_digest']);
    await forceBlob(blobs, Buffer.from('of another length'), digest);
    assert.deepEqual(await findings(), ['damage blob_size']);
  });

  it('fsck, when no row knows the bytes, calls them waste', async () => {
    await commit('known');
    const orphan = Buffer.from('orphan');
    await forceBlob(blobs, orphan, digestOf('sha256', orphan));
    assert.deepEqual(await findings(), ['waste blob_orphan']);
  });

  it('fsck, when a manifest is not what its digest says or needs what is not linked, tells both', async () => {
    const config = await commit('config');
    const layer = await commit('layer');
    const bytes = Buffer.from('not the bytes of this digest');
    await meta.transaction(async (tx) => {
      const { id } = await tx.repositories.ensure(repository, 'a', 1);
      const reference = { position: 0, mediaType: 'x/y', sizeBytes: 1 };
      await tx.manifests.put(
        id,
        {
          digest: digestOf('sha256', Buffer.from('bytes')),
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          sizeBytes: bytes.length,
          bytes,
          artifactType: null,
          subject: null,
          descriptor: null,
          references: [
            { ...reference, kind: 'config', target: config },
            { ...reference, kind: 'layer', target: layer },
          ],
        },
        'a',
        1,
      );
      await tx.blobs.unlink(id, layer);
    });
    assert.deepEqual(await findings(), ['damage manifest_digest', 'damage reference_missing']);
  });
});

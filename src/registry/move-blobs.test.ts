import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { forceBlob, stagedCommit } from '../../test/harness/staged-commit.ts';
import type { BlobStore } from '../blobs/blob-store.ts';
import { blobBytes } from '../blobs/contract-bytes.ts';
import { openFsBlobStore } from '../blobs/fs/fs-blob-store.ts';
import { openMemoryBlobStore } from '../blobs/memory/memory-blob-store.ts';
import { MovingBlobStore } from '../blobs/moving-blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { systemClock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';
import { commitBlob } from './commit-blob.ts';
import { expireUploads } from './expire-uploads.ts';
import { noFence } from './fence.ts';
import { fsck } from './fsck.ts';
import {
  countToMove,
  endLeftUploads,
  type MoveDeps,
  type Moved,
  moveBlobs,
  removeLeftBehind,
} from './move-blobs.ts';

const repository = 'org/app' as RepositoryName;
const { signal } = new AbortController();
const BYTES_MAX = 64 * 1024 * 1024;

for (const way of ['fs to memory', 'memory to fs'] as const) {
  describe(`moveBlobs, ${way}`, () => {
    let directory: string;
    let deps: MoveDeps;
    let both: BlobStore;

    beforeEach(async () => {
      directory = mkdtempSync(join(tmpdir(), 'drift-move-'));
      const stores = [
        await openFsBlobStore({ root: directory }),
        await openMemoryBlobStore({ bytesMax: BYTES_MAX }),
      ];
      const [source, target] = (way === 'fs to memory' ? stores : stores.toReversed()) as [
        BlobStore,
        BlobStore,
      ];
      const meta: MetaStore = await openTemporaryMetaStore();
      deps = { meta, source, target, clock: systemClock, fence: noFence, reserveBytes: 0 };
      both = new MovingBlobStore(source, target);
    });
    afterEach(async () => {
      await both.close();
      await deps.meta.close();
      rmSync(directory, { recursive: true, force: true });
    });

    async function push(blobs: BlobStore, text: string): Promise<Digest> {
      const commit = { meta: deps.meta, blobs, clock: systemClock, graceSeconds: 60, runId: 'run' };
      const staged = await stagedCommit(commit, { repository, bytes: Buffer.from(text) });
      return (await commitBlob(commit, staged)).digest;
    }

    async function move(more: Partial<MoveDeps> = {}): Promise<Record<Moved['outcome'], number>> {
      const outcomes = { moved: 0, gone: 0, damaged: 0 };
      await moveBlobs(
        { ...deps, ...more },
        {
          signal,
          parallelMax: 3,
          onBytes: () => {},
          onMoved: ({ outcome }) => {
            outcomes[outcome] += 1;
          },
        },
      );
      return outcomes;
    }

    async function findings(blobs: BlobStore): Promise<string[]> {
      const found: string[] = [];
      for await (const finding of fsck({ meta: deps.meta, blobs }, { rehash: true, signal }))
        found.push(finding.kind);
      return found;
    }

    const remove = (before: number) => removeLeftBehind(deps, { before, limit: 2 });

    it('every blob, moves, is read from its new place, and its old bytes go after their time', async () => {
      const texts = Array.from({ length: 7 }, (_, index) => `blob ${index}`);
      for (const text of texts) await push(deps.source, text);
      await push(both, 'pushed meanwhile');
      assert.deepEqual(await countToMove(deps, signal), { blobs: 7, bytes: 42, unsettled: 0 });
      assert.deepEqual(await move(), { moved: 7, gone: 0, damaged: 0 });
      assert.deepEqual(await countToMove(deps, signal), { blobs: 0, bytes: 0, unsettled: 0 });
      for (const text of texts) {
        const row = await deps.meta.read.blobs.find(digestOf('sha256', Buffer.from(text)));
        assert.equal((await blobBytes(deps.target, row!.location, signal)).toString(), text);
      }
      assert.deepEqual(await findings(deps.target), []);
      assert.deepEqual(await remove(Date.now() - 60_000), {
        removed: 0,
        next: (await deps.meta.read.blobs.leftBehind(1))[0],
      });
      for (let step = await remove(Date.now()); step.next !== null; ) step = await remove(Date.now());
      assert.deepEqual((await deps.source.list(null, 99)).entries, []);
      assert.deepEqual(await findings(both), []);
      assert.deepEqual(await move(), { moved: 0, gone: 0, damaged: 0 });
    });

    it('a blob whose bytes are others or missing, stays where it is and is told', async () => {
      const rotten = await push(deps.source, 'rotten');
      const missing = await push(deps.source, 'missing');
      await push(deps.source, 'sound');
      const from = (await deps.meta.read.blobs.find(rotten))!.location;
      const to = await forceBlob(deps.source, Buffer.from('Rotten'), rotten);
      await deps.meta.transaction((tx) => tx.blobs.move(rotten, { from, to }, 1));
      const place = (await deps.meta.read.blobs.find(missing))!.location;
      await deps.source.delete(place);
      assert.deepEqual(await move(), { moved: 1, gone: 0, damaged: 2 });
      assert.equal((await deps.meta.read.blobs.find(missing))?.location, place);
      assert.equal((await deps.meta.read.blobs.find(rotten))?.location, to);
      assert.deepEqual((await deps.target.listStaged(null, 9)).entries, []);
      assert.equal((await deps.target.list(null, 9)).entries.length, 1);
    });

    it('a row that changed while its blob was copied, keeps its place, and the copy goes', async () => {
      const digest = await push(deps.source, 'moves twice');
      const elsewhere = (await deps.meta.read.blobs.find(digest))!.location;
      const meddling = new Proxy(deps.target, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name, target);
          if (name !== 'commit') return typeof value === 'function' ? value.bind(target) : value;
          return async (...args: Parameters<BlobStore['commit']>) => {
            const to = 'elsewhere' as typeof elsewhere;
            await deps.meta.transaction((tx) => tx.blobs.move(digest, { from: elsewhere, to }, 1));
            return await target.commit(...args);
          };
        },
      });
      assert.deepEqual(await move({ target: meddling }), { moved: 0, gone: 1, damaged: 0 });
      assert.equal((await deps.meta.read.blobs.find(digest))?.location, 'elsewhere');
      // Where the place is the digest's, it is not the copy's to give up.
      const left = (await deps.target.list(null, 9)).entries.length;
      assert.equal(left, way === 'fs to memory' ? 0 : 1);
    });

    it('a run that dies between the copy and the switch, leaves a copy that expires, and the blob', async () => {
      const digest = await push(deps.source, 'half way');
      const dying = new Proxy(deps.target, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name, target);
          if (name === 'commit') {
            return async (...args: Parameters<BlobStore['commit']>) => {
              await target.commit(...args);
              throw new Unavailable('blob store', 'the process died', { retryable: true });
            };
          }
          // Nor does a process that died take anything back.
          if (name === 'withdraw') return () => Promise.reject(new Error('dead'));
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      await assert.rejects(move({ target: dying }), /the process died/);
      assert.ok(deps.source.owns((await deps.meta.read.blobs.find(digest))!.location));
      assert.deepEqual(await move(), { moved: 1, gone: 0, damaged: 0 });
      await expireUploads(
        { meta: deps.meta, blobs: both, clock: { now: () => Date.now() + 1e10 } },
        { limit: 9, fence: noFence },
      );
      for (let step = await remove(Date.now()); step.next !== null; ) step = await remove(Date.now());
      assert.equal(
        (await blobBytes(both, (await deps.meta.read.blobs.find(digest))!.location, signal)).toString(),
        'half way',
      );
    });

    it('a blob that moved back, keeps the bytes at its old place', async () => {
      const digest = await push(deps.source, 'there and back');
      await move();
      await move({ source: deps.target, target: deps.source });
      while ((await remove(Date.now())).removed > 0);
      const { location } = (await deps.meta.read.blobs.find(digest))!;
      assert.equal((await blobBytes(both, location, signal)).toString(), 'there and back');
      assert.deepEqual(await findings(both), []);
    });

    /** The store, with something that happens at one of its calls. */
    function at(
      store: BlobStore,
      name: 'commit' | 'delete',
      happens: Partial<Record<'before' | 'after', () => Promise<unknown>>>,
    ): BlobStore {
      return new Proxy(store, {
        get(object, key) {
          const value: unknown = Reflect.get(object, key);
          if (typeof value !== 'function') return value;
          if (key !== name) return value.bind(object);
          return async (...args: unknown[]): Promise<unknown> => {
            await happens.before?.();
            const answer: unknown = await value.apply(object, args);
            await happens.after?.();
            return answer;
          };
        },
      });
    }

    const removeAll = () => removeLeftBehind(deps, { before: Date.now(), limit: 99 });
    const collisions: Record<string, (text: string) => Promise<unknown>> = {
      'removed while a node that knows the old store only commits': (text) =>
        push(at(deps.source, 'commit', { after: removeAll }), text),
      'removed while a node of the swapped configuration commits': (text) =>
        push(new MovingBlobStore(deps.target, at(deps.source, 'commit', { after: removeAll })), text),
      'pushed to the old store while it is removed': (text) =>
        removeLeftBehind(
          { ...deps, source: at(deps.source, 'delete', { before: () => push(deps.source, text) }) },
          { before: Date.now(), limit: 99 },
        ),
    };
    for (const [name, collide] of Object.entries(collisions)) {
      it(`old bytes of a digest that is pushed again, ${name}, take no new ones with them`, async () => {
        const digest = await push(deps.source, 'pushed twice');
        await move();
        await collide('pushed twice').catch((error: unknown) =>
          assert.ok(error instanceof Unavailable && error.retryable, String(error)),
        );
        const { location } = (await deps.meta.read.blobs.find(digest))!;
        assert.equal((await blobBytes(both, location, signal)).toString(), 'pushed twice');
        await removeAll();
        await push(deps.source, 'pushed twice');
        await removeAll();
        assert.deepEqual(await findings(both), []);
      });
    }

    it('an upload that begins in the old store, once all has moved, is ended; one that is held is not', async () => {
      const begin = () =>
        stagedCommit({ meta: deps.meta, blobs: deps.source }, { repository, bytes: Buffer.from('half') });
      const held = await begin();
      const idle = await begin();
      await deps.meta.transaction(async (tx) => {
        const rest = { offsetBytes: 4, digestSoFar: null, hashedInRun: null, expiresAt: Date.now() + 60_000 };
        await tx.uploads.release(idle.uploadId, idle.leaseToken, rest);
      });
      assert.equal(await endLeftUploads(deps, signal), 1);
      const staged = (await deps.source.listStaged(null, 9)).entries.map(({ uploadId }) => uploadId);
      assert.deepEqual(staged, [held.uploadId]);
      assert.equal(await deps.meta.read.uploads.find(idle.uploadId), null);
      assert.notEqual(await deps.meta.read.uploads.find(held.uploadId), null);
    });

    it('a target without room, ends the run and loses nothing', async () => {
      const digest = await push(deps.source, 'too much');
      await assert.rejects(
        move({ reserveBytes: Number.MAX_SAFE_INTEGER }),
        (error) => error instanceof Unavailable && error.full,
      );
      assert.ok(deps.source.owns((await deps.meta.read.blobs.find(digest))!.location));
    });
  });
}

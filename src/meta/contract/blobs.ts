import assert from 'node:assert/strict';
import type { BlobLocation } from '../../blobs/blob-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { AbandonQuery, LinkScanEntry, MetaStore, PlacedBytes } from '../meta-store.ts';
import {
  bytesOf,
  type ContractFixture,
  DEMO,
  digestFor,
  ensure,
  inByteOrder,
  LOCATION,
  named,
  OTHER,
  placeLinked,
} from './fixture.ts';

const BLOB = digestFor('blob');

export function blobContract(fixture: ContractFixture): void {
  claimsOfBlobs(fixture);
  movedBlobs(fixture);
  abandonedBlobs(fixture);
  linksOfBlobs(fixture);
}

function claimsOfBlobs({ check }: ContractFixture): void {
  check('blobs.claim and place, make a present blob that is not served without a link', async (store) => {
    const repository = await ensure(store);
    assert.deepEqual(await store.transaction((tx) => tx.blobs.claim(bytesOf(BLOB), 5)), { present: null });
    assert.equal((await store.read.blobs.find(BLOB))?.state, 'placing');
    await store.transaction((tx) => tx.blobs.link(repository.id, BLOB, 'ann', 5));
    assert.equal(await store.read.blobs.findLinked(DEMO, BLOB), null);
    assert.equal(await store.transaction((tx) => tx.blobs.place(bytesOf(BLOB), null, 6)), LOCATION);
    assert.deepEqual(await store.read.blobs.findLinked(DEMO, BLOB), {
      digest: BLOB,
      sizeBytes: 3,
      location: LOCATION,
      touchedAt: 6,
    });
    assert.equal(await store.read.blobs.findLinked(OTHER, BLOB), null);
  });

  check('blobs.claim, of a present blob, touches it and leaves it present', async (store) => {
    await placeLinked(store, await ensure(store), BLOB);
    const claimed = await store.transaction((tx) => tx.blobs.claim(bytesOf(BLOB), 50));
    assert.deepEqual(claimed, { present: LOCATION });
    const row = await store.read.blobs.find(BLOB);
    assert.deepEqual([row?.state, row?.touchedAt], ['present', 50]);
  });

  check(
    'blobs.place, of one digest by two, answers where the first one stands, unless it is bad',
    async (store) => {
      const second = { ...bytesOf(BLOB), location: 'elsewhere' as BlobLocation };
      const place = (bytes: PlacedBytes, replaces: BlobLocation | null) =>
        store.transaction((tx) => tx.blobs.place(bytes, replaces, 6));
      await store.transaction((tx) => tx.blobs.claim(bytesOf(BLOB), 5));
      await store.transaction((tx) => tx.blobs.claim(second, 5));
      assert.equal(await place(bytesOf(BLOB), null), LOCATION);
      assert.equal(await place(second, null), LOCATION);
      assert.equal((await store.read.blobs.find(BLOB))?.location, LOCATION);
      assert.equal(await place(second, LOCATION), second.location);
      assert.equal((await store.read.blobs.find(BLOB))?.location, second.location);
      assert.equal(await place(bytesOf(BLOB), 'long gone' as BlobLocation), second.location);
    },
  );

  check('blobs.touch, only present blobs, and never back in time', async (store) => {
    const touch = (at: number) => store.transaction((tx) => tx.blobs.touch(BLOB, at));
    assert.equal(await touch(1), false);
    await store.transaction((tx) => tx.blobs.claim(bytesOf(BLOB), 5));
    assert.equal(await touch(6), false);
    await store.transaction((tx) => tx.blobs.place(bytesOf(BLOB), null, 7));
    assert.equal(await touch(90), true);
    assert.equal(await touch(80), true);
    assert.equal((await store.read.blobs.find(BLOB))?.touchedAt, 90);
  });

  check('blobs.place, without a claim, answers null', async (store) => {
    assert.equal(await store.transaction((tx) => tx.blobs.place(bytesOf(BLOB), null, 7)), null);
    assert.equal(await store.read.blobs.find(BLOB), null);
  });
}

function movedBlobs({ check }: ContractFixture): void {
  const place = (name: string) => name as BlobLocation;
  const move = (store: MetaStore, from: string, to: string, at: number) =>
    store.transaction((tx) => tx.blobs.move(BLOB, { from: place(from), to: place(to) }, at));
  const leftBehind = async (store: MetaStore) =>
    (await store.read.blobs.leftBehind(9)).map(({ location, movedAt }) => [location, movedAt]);

  check('blobs.move, only from where the blob is, notes what is left behind', async (store) => {
    assert.equal(await move(store, LOCATION, 'new', 7), false);
    await placeLinked(store, await ensure(store), BLOB);
    assert.equal(await move(store, 'elsewhere', 'new', 7), false);
    assert.deepEqual(await leftBehind(store), []);
    assert.equal(await move(store, LOCATION, 'new', 8), true);
    assert.equal(await move(store, LOCATION, 'new', 9), false);
    assert.equal((await store.read.blobs.findLinked(DEMO, BLOB))?.location, 'new');
    assert.deepEqual(await store.read.blobs.leftBehind(9), [
      { digest: BLOB, location: LOCATION, movedAt: 8 },
    ]);
  });

  check('blobs.move, there and back again, leaves behind only where the blob is not', async (store) => {
    await placeLinked(store, await ensure(store), BLOB);
    await move(store, LOCATION, 'new', 8);
    await move(store, 'new', 'newer', 9);
    assert.deepEqual(await leftBehind(store), [
      [LOCATION, 8],
      ['new', 9],
    ]);
    assert.deepEqual((await store.read.blobs.leftBehind(1)).length, 1);
    await move(store, 'newer', LOCATION, 10);
    assert.deepEqual(await leftBehind(store), [
      ['new', 9],
      ['newer', 10],
    ]);
    for (const name of ['new', 'newer', 'never']) {
      await store.transaction((tx) => tx.blobs.forgetLeftBehind(place(name)));
    }
    assert.deepEqual(await leftBehind(store), []);
  });

  check('blobs.move, of a blob that is not present, does nothing', async (store) => {
    await store.transaction((tx) => tx.blobs.claim(bytesOf(BLOB), 5));
    assert.equal(await move(store, LOCATION, 'new', 8), false);
  });
}

function abandonedBlobs({ check }: ContractFixture): void {
  const abandon = (store: MetaStore, query: Partial<AbandonQuery>) =>
    store.transaction(async (tx) => {
      const rows = await tx.blobs.abandon({
        claimedBefore: 10,
        markedBefore: 10,
        at: 40,
        limit: 9,
        ...query,
      });
      return rows.map(({ digest, state, touchedAt }) => [digest, state, touchedAt]);
    });

  check('blobs.abandon, marks what was claimed before and never placed, for a while', async (store) => {
    const [old, young, present] = ['old', 'young', 'present'].map(digestFor) as [Digest, Digest, Digest];
    await store.transaction(async (tx) => {
      await tx.blobs.claim(bytesOf(old), 5);
      await tx.blobs.claim(bytesOf(young), 20);
      await tx.blobs.claim(bytesOf(present), 5);
      await tx.blobs.place(bytesOf(present), null, 5);
    });
    assert.deepEqual(await abandon(store, {}), [[old, 'deleting', 40]]);
    assert.deepEqual(await abandon(store, { markedBefore: 40 }), [], 'nobody else has it so soon');
    assert.deepEqual(await abandon(store, { markedBefore: 41, at: 50 }), [[old, 'deleting', 50]]);
  });

  check('blobs.abandon and forget, keep the digest from being pushed meanwhile', async (store) => {
    const digest = digestFor('old');
    await store.transaction((tx) => tx.blobs.claim(bytesOf(digest), 5));
    assert.equal(await store.transaction((tx) => tx.blobs.forget(digest)), false);
    await abandon(store, {});
    assert.equal(await store.transaction((tx) => tx.blobs.claim(bytesOf(digest), 60)), 'deleting');
    assert.equal(await store.transaction((tx) => tx.blobs.place(bytesOf(digest), null, 60)), null);
    assert.equal(await store.transaction((tx) => tx.blobs.forget(digest)), true);
    assert.equal(await store.transaction((tx) => tx.blobs.forget(digest)), false);
    assert.deepEqual(await store.transaction((tx) => tx.blobs.claim(bytesOf(digest), 60)), { present: null });
  });

  check('blobs.abandon, of more than its limit, takes the oldest', async (store) => {
    const digests = Array.from({ length: 12 }, (_, index) => digestFor(`abandoned ${index}`));
    await store.transaction(async (tx) => {
      for (const [index, digest] of digests.entries()) await tx.blobs.claim(bytesOf(digest), 100 - index);
    });
    const abandoned = await abandon(store, { claimedBefore: 1000, limit: 5 });
    assert.deepEqual(new Set(abandoned.map(([digest]) => digest)), new Set(digests.slice(-5)));
  });
}

function linksOfBlobs({ check }: ContractFixture): void {
  check('blobs.link and unlink, twice, change nothing more', async (store) => {
    const repository = await ensure(store);
    await placeLinked(store, repository, BLOB);
    await store.transaction((tx) => tx.blobs.link(repository.id, BLOB, 'bob', 9));
    assert.equal(await store.transaction((tx) => tx.blobs.unlink(repository.id, BLOB)), true);
    assert.equal(await store.transaction((tx) => tx.blobs.unlink(repository.id, BLOB)), false);
    assert.equal(await store.read.blobs.findLinked(DEMO, BLOB), null);
    assert.equal((await store.read.blobs.find(BLOB))?.state, 'present');
  });

  check('blobs.touchAmong, of many, touches those present and says which', async (store) => {
    const repository = await ensure(store);
    const all = Array.from({ length: 700 }, (_, index) => digestFor(`blob ${index}`));
    const placed = [all[3], all[650]].filter((digest) => digest !== undefined);
    for (const digest of placed) await placeLinked(store, repository, digest);
    await store.transaction((tx) => tx.blobs.claim(bytesOf(digestFor('blob 5')), 5));
    const touch = (digests: readonly Digest[], at: number) =>
      store.transaction((tx) => tx.blobs.touchAmong(digests, at));
    assert.deepEqual(await touch(all, 90), new Set(placed));
    assert.deepEqual(await touch(placed, 80), new Set(placed));
    assert.deepEqual(await touch([], 95), new Set());
    for (const digest of placed) assert.equal((await store.read.blobs.find(digest))?.touchedAt, 90);
    assert.equal((await store.read.blobs.find(digestFor('blob 5')))?.touchedAt, 5);
  });

  check('blobs.linkedAmong, of many, gives those linked and present', async (store) => {
    const repository = await ensure(store);
    const all = Array.from({ length: 700 }, (_, index) => digestFor(`blob ${index}`));
    const placed = [all[3], all[650]].filter((digest) => digest !== undefined);
    for (const digest of placed) await placeLinked(store, repository, digest);
    await store.transaction(async (tx) => {
      await tx.blobs.claim(bytesOf(digestFor('blob 5')), 5);
      await tx.blobs.link(repository.id, digestFor('blob 5'), 'ann', 5);
    });
    assert.deepEqual(await store.read.blobs.linkedAmong(repository.id, all), new Set(placed));
    assert.deepEqual(await store.read.blobs.linkedAmong(repository.id, []), new Set());
  });

  check('blobs.repositoriesLinking, in byte order of names, in pages', async (store) => {
    for (const name of ['c', 'a', 'b']) await placeLinked(store, await ensure(store, named(name)), BLOB);
    assert.deepEqual(await store.read.blobs.repositoriesLinking(BLOB, null, 2), ['a', 'b']);
    assert.deepEqual(await store.read.blobs.repositoriesLinking(BLOB, 'b', 2), ['c']);
    assert.deepEqual(await store.read.blobs.repositoriesLinking(digestFor('none'), null, 2), []);
  });

  check('blobs.scan and scanLinks, in pages, give every row once', async (store) => {
    const digests = inByteOrder(['1', '2', '3'].map(digestFor));
    for (const name of [DEMO, OTHER]) {
      for (const digest of digests) await placeLinked(store, await ensure(store, name), digest);
    }
    const orphan = await ensure(store, named('orphan'));
    await store.transaction((tx) => tx.blobs.link(orphan.id, BLOB, 'ann', 1));
    const rows = await store.read.blobs.scan(digests[0] ?? null, 10);
    assert.deepEqual(
      rows.map((row) => row.digest),
      digests.slice(1),
    );
    const links: LinkScanEntry[] = [];
    for (;;) {
      const page = await store.read.blobs.scanLinks(links.at(-1) ?? null, 2);
      if (page.length === 0) break;
      links.push(...page);
    }
    assert.equal(links.length, 7);
    assert.deepEqual(links.at(-1), {
      repositoryId: orphan.id,
      repository: 'orphan',
      digest: BLOB,
      blobState: null,
    });
    assert.equal(links[0]?.blobState, 'present');
  });
}

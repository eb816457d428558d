import assert from 'node:assert/strict';
import type { Digest } from '../../oci/digest.ts';
import type { ManifestScanEntry, MetaStore } from '../meta-store.ts';
import {
  type ContractFixture,
  DEMO,
  digestFor,
  ensure,
  inByteOrder,
  manifestOf,
  OTHER,
  put,
  setTag,
  tagged,
} from './fixture.ts';

export function manifestContract(fixture: ContractFixture): void {
  lifeOfManifests(fixture);
  referencesOfManifests(fixture);
  listsOfManifests(fixture);
}

function lifeOfManifests({ check }: ContractFixture): void {
  check('manifests.put, comes back exactly, only from its repository', async (store) => {
    const repository = await ensure(store);
    await ensure(store, OTHER);
    const manifest = manifestOf('{ "a" : 1 }\u0000\n');
    await put(store, repository, manifest);
    const found = await store.read.manifests.getByDigest(DEMO, manifest.digest);
    assert.deepEqual(Buffer.from(found?.bytes ?? []), manifest.bytes);
    assert.equal(found?.mediaType, manifest.mediaType);
    assert.equal(found?.sizeBytes, manifest.sizeBytes);
    assert.equal(await store.read.manifests.getByDigest(OTHER, manifest.digest), null);
    assert.equal(await store.read.manifests.getByDigest(DEMO, digestFor('none')), null);
  });

  check('manifests.put, again under another type, keeps the first', async (store) => {
    const repository = await ensure(store);
    await put(store, repository, manifestOf('m'));
    const confused = manifestOf('m', { mediaType: 'text/confused' });
    const again = (manifest: typeof confused) =>
      store.transaction((tx) => tx.manifests.put(repository.id, manifest, 'ann', 2));
    assert.equal(await again(confused), false);
    assert.equal(await again(manifestOf('m')), true);
    const found = await store.read.manifests.getByDigest(DEMO, manifestOf('m').digest);
    assert.equal(found?.mediaType, manifestOf('m').mediaType);
  });

  check(
    'manifests.delete, hides it from reads but not from state, and a put brings it back',
    async (store) => {
      const repository = await ensure(store);
      const { digest } = manifestOf('m');
      await put(store, repository, manifestOf('m'));
      await store.transaction((tx) =>
        setTag(tx, repository.id, { tag: 't', digest: digest, by: 'ann', at: 2 }),
      );
      const remove = () => store.transaction((tx) => tx.manifests.delete(repository.id, digest, 'ann', 3));
      assert.equal(await remove(), true);
      assert.equal(await remove(), false);
      assert.equal(await store.read.manifests.getByDigest(DEMO, digest), null);
      assert.equal(await store.read.manifests.getByTag(DEMO, tagged('t')), null);
      assert.equal((await store.read.manifests.state(repository.id, digest))?.live, false);
      await put(store, repository, manifestOf('m'));
      assert.equal((await store.read.manifests.state(repository.id, digest))?.live, true);
      assert.equal(await store.read.manifests.state(repository.id, digestFor('none')), null);
    },
  );

  check('manifests.liveAmong, of many, gives those of the repository that are not deleted', async (store) => {
    const repository = await ensure(store);
    const [kept, deleted] = [manifestOf('kept'), manifestOf('deleted')];
    await put(store, repository, kept);
    await put(store, repository, deleted);
    await store.transaction((tx) => tx.manifests.delete(repository.id, deleted.digest, 'ann', 3));
    const others = Array.from({ length: 700 }, (_, index) => digestFor(`manifest ${index}`));
    const all = [...others, kept.digest, deleted.digest];
    assert.deepEqual(await store.read.manifests.liveAmong(repository.id, all), new Set([kept.digest]));
    assert.deepEqual(await store.read.manifests.liveAmong(repository.id, []), new Set());
    const other = await ensure(store, OTHER);
    assert.deepEqual(await store.read.manifests.liveAmong(other.id, all), new Set());
  });
}

async function putParents(store: MetaStore) {
  const repository = await ensure(store);
  const child = manifestOf('child');
  const target = { target: child.digest, mediaType: child.mediaType, sizeBytes: child.sizeBytes };
  const parents = ['p1', 'p2', 'p3'].map((text) =>
    manifestOf(text, {
      references: [
        { kind: 'child', position: 0, ...target },
        { kind: 'child', position: 1, ...target },
      ],
    }),
  );
  const referrer = manifestOf('r', {
    subject: child.digest,
    references: [{ kind: 'subject', position: 0, ...target }],
  });
  for (const manifest of [child, ...parents, referrer]) await put(store, repository, manifest);
  return { repository, child, parents, referrer };
}

function referencesOfManifests({ check }: ContractFixture): void {
  check('manifests.references, come back as they were put, many too', async (store) => {
    const repository = await ensure(store);
    const references = Array.from({ length: 1200 }, (_, position) => ({
      kind: 'layer' as const,
      position,
      target: digestFor(`layer ${position}`),
      mediaType: 'application/octet-stream',
      sizeBytes: position,
    }));
    const manifest = manifestOf('m', { references });
    await put(store, repository, manifest);
    await put(store, repository, manifest);
    assert.deepEqual(await store.read.manifests.references(repository.id, manifest.digest), references);
  });

  check('manifests.parents, each once, in pages, live ones only', async (store) => {
    const { repository, child, parents } = await putParents(store);
    const digests = inByteOrder(parents.map((parent) => parent.digest));
    const page = (after: (typeof digests)[number] | null, limit: number) =>
      store.read.manifests.parents({ repository: repository.id, target: child.digest, after, limit });
    assert.deepEqual(await page(null, 10), digests);
    assert.deepEqual(await page(digests[0] ?? null, 1), [digests[1]]);
    await store.transaction((tx) => tx.manifests.delete(repository.id, digests[0] ?? child.digest, 'ann', 9));
    assert.deepEqual(await page(null, 10), digests.slice(1));
  });

  check('manifests.referencedBy, a subject alone does not count, nor do the deleted', async (store) => {
    const { repository, child, parents } = await putParents(store);
    assert.notEqual(await store.read.manifests.referencedBy(repository.id, child.digest), null);
    await store.transaction(async (tx) => {
      for (const parent of parents) await tx.manifests.delete(repository.id, parent.digest, 'ann', 9);
    });
    assert.equal(await store.read.manifests.referencedBy(repository.id, child.digest), null);
  });
}

function listsOfManifests({ check }: ContractFixture): void {
  check('manifests.referrersText, page by page, joins what was pushed in byte order', async (store) => {
    const { referrers, query } = await putReferrers(store);
    const ordered = inByteOrder(referrers.map((referrer) => referrer.digest));
    const textOf = (digests: readonly Digest[]) =>
      digests.map((digest) => referrers.find((referrer) => referrer.digest === digest)?.descriptor).join(',');
    const first = await store.read.manifests.referrersText({ ...query, limit: 4 });
    assert.deepEqual(first, { text: textOf(ordered.slice(0, 4)), last: ordered[3] });
    const second = await store.read.manifests.referrersText({ ...query, after: first.last, limit: 4 });
    assert.deepEqual(second, { text: textOf(ordered.slice(4)), last: ordered[5] });
    const third = await store.read.manifests.referrersText({ ...query, after: second.last });
    assert.deepEqual(third, { text: '', last: null });
  });

  check('manifests.referrersSize, filtered and live ones only, says the bytes of the text', async (store) => {
    const { repository, referrers, query } = await putReferrers(store);
    const { count, bytes } = await store.read.manifests.referrersSize(query);
    const { text } = await store.read.manifests.referrersText(query);
    assert.deepEqual([count, bytes + count - 1], [6, Buffer.byteLength(text)]);
    const even = { ...query, artifactType: 'even' };
    assert.equal((await store.read.manifests.referrersSize(even)).count, 3);
    assert.equal((await store.read.manifests.referrersSize({ ...even, limit: 2 })).count, 2);
    const [gone] = referrers;
    assert.ok(gone);
    await store.transaction((tx) => tx.manifests.delete(repository.id, gone.digest, 'ann', 9));
    assert.equal((await store.read.manifests.referrersSize(query)).count, 5);
    await put(store, repository, gone);
    assert.equal((await store.read.manifests.referrersText(query)).text, text);
    const nobody = { ...query, subject: digestFor('a subject without referrers') };
    assert.deepEqual(await store.read.manifests.referrersSize(nobody), { count: 0, bytes: 0 });
  });

  check('manifests.scan, in pages of two, gives every manifest of every repository once', async (store) => {
    for (const name of [DEMO, OTHER]) {
      const repository = await ensure(store, name);
      for (const text of ['1', '2', '3']) await put(store, repository, manifestOf(text));
    }
    const seen: string[] = [];
    let after: ManifestScanEntry | null = null;
    for (;;) {
      const page: readonly ManifestScanEntry[] = await store.read.manifests.scan(after, 2);
      if (page.length === 0) break;
      seen.push(...page.map((entry) => `${entry.repository} ${entry.digest}`));
      after = page.at(-1) ?? null;
    }
    assert.equal(seen.length, 6);
    assert.equal(new Set(seen).size, 6);
  });
}

/** Six of a subject that is not there, every second of type `even`, with text of more than one byte a letter. */
async function putReferrers(store: MetaStore) {
  const repository = await ensure(store);
  const subject = digestFor('a subject that is not there');
  const referrers = Array.from({ length: 6 }, (_, index) =>
    manifestOf(`r${index}`, {
      subject,
      artifactType: index % 2 === 0 ? 'even' : 'odd',
      descriptor: JSON.stringify({ note: `nº ${index}` }),
    }),
  );
  for (const referrer of referrers) await put(store, repository, referrer);
  const query = { repository: repository.id, subject, artifactType: null, after: null, limit: 10 };
  return { repository, referrers, query };
}

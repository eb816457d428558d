import assert from 'node:assert/strict';
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
    await put(store, repository, manifestOf('m', { mediaType: 'text/confused' }));
    const found = await store.read.manifests.getByDigest(DEMO, manifestOf('m').digest);
    assert.equal(found?.mediaType, manifestOf('m').mediaType);
  });

  check(
    'manifests.delete, hides it from reads but not from state, and a put brings it back',
    async (store) => {
      const repository = await ensure(store);
      const { digest } = manifestOf('m');
      await put(store, repository, manifestOf('m'));
      await store.transaction((tx) => tx.tags.set(repository.id, tagged('t'), digest, 'ann', 2));
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
  check('manifests.referrers, pages in byte order, filtered, live ones only', async (store) => {
    const repository = await ensure(store);
    const subject = digestFor('a subject that is not there');
    const referrers = Array.from({ length: 6 }, (_, index) =>
      manifestOf(`r${index}`, {
        subject,
        artifactType: index % 2 === 0 ? 'even' : 'odd',
        annotations: { index: String(index) },
      }),
    );
    for (const referrer of referrers) await put(store, repository, referrer);
    const list = (artifactType: string | null, after: typeof subject | null, limit: number) =>
      store.read.manifests.referrers({ repository: repository.id, subject, artifactType, after, limit });
    const digests = inByteOrder(referrers.map((referrer) => referrer.digest));
    const first = await list(null, null, 4);
    const second = await list(null, first.at(-1)?.digest ?? null, 4);
    assert.deepEqual(
      [...first, ...second].map((referrer) => referrer.digest),
      digests,
    );
    const even = await list('even', null, 10);
    assert.deepEqual(
      even.map((referrer) => referrer.annotations?.['index'] ?? '').toSorted((a, b) => a.localeCompare(b)),
      ['0', '2', '4'],
    );
    await store.transaction((tx) => tx.manifests.delete(repository.id, digests[0] ?? subject, 'ann', 9));
    assert.equal((await list(null, null, 10)).length, 5);
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

import assert from 'node:assert/strict';
import type { BlobLocation } from '../../blobs/blob-store.ts';
import type { MetaStore, StoredManifest } from '../meta-store.ts';
import {
  bytesOf,
  type ContractFixture,
  DEMO,
  digestFor,
  ensure,
  manifestOf,
  named,
  placeLinked,
  put,
  setTag,
  tagged,
} from './fixture.ts';

const MANY = 20;
const CONCURRENT = { concurrent: true };
const BLOB = digestFor('blob');
/** More than a database answers in one row of many. */
const LONG_TEXT = 'long'.repeat(50_000);

/** What rules rely on when many of them run at once. */
export function concurrencyContract(fixture: ContractFixture): void {
  repositoriesAtOnce(fixture);
  manifestsAtOnce(fixture);
  tagsAtOnce(fixture);
  blobsAtOnce(fixture);
  readsAtOnce(fixture);
}

function together<T>(run: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: MANY }, (_, index) => run(index)));
}

function repositoriesAtOnce({ check }: ContractFixture): void {
  check('repositories.ensure, of one name by many at once, gives all the same one', async (store) => {
    const made = await together(() =>
      store.transaction((tx) => tx.repositories.ensure(DEMO, 'ann', 1), CONCURRENT),
    );
    assert.equal(new Set(made.map(({ id }) => id)).size, 1);
  });

  check('repositories.findAlone, while somebody adds, waits and sees what was added', async (store) => {
    await placeLinked(store, await ensure(store), BLOB);
    const reference = { kind: 'layer', position: 0, target: BLOB, mediaType: 'a/b', sizeBytes: 3 } as const;
    const manifest = manifestOf('needs it', { references: [reference] });
    const adds = Promise.withResolvers<void>();
    const goesOn = Promise.withResolvers<void>();
    const adding = store.transaction(async (tx) => {
      const repository = await tx.repositories.ensure(DEMO, 'ann', 1);
      adds.resolve();
      await goesOn.promise;
      await tx.manifests.put(repository.id, manifest, 'ann', 1);
    }, CONCURRENT);
    await adds.promise;
    const taking = store.transaction(async (tx) => {
      const repository = await tx.repositories.findAlone(DEMO);
      return repository === null ? null : tx.manifests.referencedBy(repository.id, BLOB);
    }, CONCURRENT);
    // Long enough for one that does not wait to have looked.
    await Promise.race([taking, new Promise((resolve) => setTimeout(resolve, 50))]);
    goesOn.resolve();
    assert.equal(await taking, manifest.digest);
    await adding;
  });

  check('repositories.ensure, while somebody takes away, waits and sees it gone', async (store) => {
    const repository = await ensure(store);
    await placeLinked(store, repository, BLOB);
    const takes = Promise.withResolvers<void>();
    const goesOn = Promise.withResolvers<void>();
    const taking = store.transaction(async (tx) => {
      await tx.repositories.findAlone(DEMO);
      takes.resolve();
      await goesOn.promise;
      await tx.blobs.unlink(repository.id, BLOB);
    }, CONCURRENT);
    await takes.promise;
    const adding = store.transaction(async (tx) => {
      const { id } = await tx.repositories.ensure(DEMO, 'ann', 1);
      return tx.blobs.linkedAmong(id, [BLOB]);
    }, CONCURRENT);
    await Promise.race([adding, new Promise((resolve) => setTimeout(resolve, 50))]);
    goesOn.resolve();
    assert.equal((await adding).size, 0);
    await taking;
  });
}

function manifestsAtOnce({ check }: ContractFixture): void {
  check('manifests.put, of the same bytes under many types at once, stores one of them', async (store) => {
    const repository = await ensure(store);
    const stored = await together((index) =>
      store.transaction(async (tx) => {
        await tx.repositories.ensure(DEMO, 'ann', 1);
        return tx.manifests.put(repository.id, manifestOf('m', { mediaType: `a/${index}` }), 'ann', 1);
      }, CONCURRENT),
    );
    assert.equal(stored.filter(Boolean).length, 1);
    const found = await store.read.manifests.getByDigest(DEMO, manifestOf('m').digest);
    assert.equal(found?.mediaType, `a/${stored.indexOf(true)}`);
  });
}

function tagsAtOnce({ check }: ContractFixture): void {
  check('tags.set, of one tag by many at once, is a history without gaps', async (store) => {
    const repository = await ensure(store);
    const manifests = Array.from({ length: MANY }, (_, index) => manifestOf(`m${index}`));
    for (const manifest of manifests) await put(store, repository, manifest);
    const set = (index: number) =>
      store.transaction(async (tx) => {
        const { id } = await tx.repositories.ensure(DEMO, 'ann', 1);
        const digest = manifests[index]?.digest ?? BLOB;
        return setTag(tx, id, { tag: 'latest', digest: digest, by: 'ann', at: index });
      }, CONCURRENT);
    const before = await together(set);
    const history = await store.read.tags.history(repository.id, tagged('latest'), MANY + 1);
    assert.equal(history.length, MANY);
    assert.equal(history.filter((interval) => interval.endedAt === null).length, 1);
    assert.equal(history[0]?.endedAt, null);
    // Each of them saw another one before it, and one of them none.
    assert.equal(new Set(before).size, MANY);
  });

  check('a tag that may be set once, by many at once, is set by one', async (store) => {
    const repository = await ensure(store);
    const attempts = await together((index) =>
      store.transaction(async (tx) => {
        await tx.repositories.ensure(DEMO, 'ann', 1);
        if ((await tx.tags.find(repository.id, tagged('v1'))) !== null) return false;
        const change = { tag: tagged('v1'), before: null, digest: digestFor(`m${index}`) };
        await tx.tags.set(repository.id, change, 'ann', 1);
        return true;
      }, CONCURRENT),
    );
    assert.equal(attempts.filter(Boolean).length, 1);
  });
}

function blobsAtOnce({ check }: ContractFixture): void {
  check('blobs.claim and place, of one digest by many at once, end at one place', async (store) => {
    const places = await together(async (index) => {
      const bytes = { ...bytesOf(BLOB), location: `place ${index}` as BlobLocation };
      await store.transaction((tx) => tx.blobs.claim(bytes, 5), CONCURRENT);
      return store.transaction((tx) => tx.blobs.place(bytes, null, 6), CONCURRENT);
    });
    assert.equal(new Set(places).size, 1);
    assert.equal((await store.read.blobs.find(BLOB))?.location, places[0]);
  });

  check('blobs.touchAmong, of the same ones in any order at once, touches them all', async (store) => {
    const repository = await ensure(store);
    const digests = Array.from({ length: 8 }, (_, index) => digestFor(`blob ${index}`));
    for (const digest of digests) await placeLinked(store, repository, digest);
    const touched = await together((index) => {
      const order = index % 2 === 0 ? digests : digests.toReversed();
      return store.transaction((tx) => tx.blobs.touchAmong(order, 100 + index), CONCURRENT);
    });
    for (const some of touched) assert.equal(some.size, digests.length);
  });

  check('leases.take, by many at once, gives it to one', async (store) => {
    const taken = await together((index) => takeLease(store, `holder ${index}`));
    assert.equal(taken.filter((fence) => fence !== null).length, 1);
  });
}

function takeLease(store: MetaStore, holder: string): Promise<number | null> {
  return store.transaction((tx) => tx.leases.take('job', holder, 60_000), CONCURRENT);
}

/** Each repository has a manifest and a blob of its own under the same names, and one that all of them have. */
function readsAtOnce({ check }: ContractFixture): void {
  for (const repositories of [1, 2, MANY]) {
    check(`reads, of ${repositories} repositories at once, find what each of them has`, async (store) => {
      const names = Array.from({ length: repositories }, (_, index) => named(`many/${index}`));
      for (const name of names) {
        const repository = await ensure(store, name);
        await put(store, repository, manifestOf('of all'));
        await put(store, repository, manifestOf(`of ${name}`));
        await put(store, repository, manifestOf(LONG_TEXT));
        await store.transaction(async (tx) => {
          for (const [tag, text] of [
            ['all', 'of all'],
            ['own', `of ${name}`],
          ] as const) {
            await setTag(tx, repository.id, { tag, digest: manifestOf(text).digest, by: 'ann', at: 3 });
          }
        });
        await placeLinked(store, repository, digestFor(name));
      }
      const { manifests, blobs } = store.read;
      const text = (found: StoredManifest | null) => found && Buffer.from(found.bytes).toString();
      const asked = names.flatMap((name, index) => {
        const elsewhere = names[(index + 1) % names.length] ?? name;
        const theirs = repositories > 1 ? null : `of ${name}`;
        return [
          [() => manifests.getByTag(name, tagged('own')).then(text), `of ${name}`],
          [() => manifests.getByTag(name, tagged('all')).then(text), 'of all'],
          [() => manifests.getByTag(name, tagged('none')).then(text), null],
          [() => manifests.getByTag(named(`${name}/none`), tagged('own')).then(text), null],
          [() => manifests.getByDigest(name, digestFor('of all')).then(text), 'of all'],
          [() => manifests.getByDigest(name, digestFor(`of ${elsewhere}`)).then(text), theirs],
          [() => manifests.getByDigest(name, digestFor(LONG_TEXT)).then(text), LONG_TEXT],
          [() => blobs.findLinked(name, digestFor(name)).then((blob) => blob?.digest), digestFor(name)],
          [() => blobs.findLinked(name, digestFor('none')), null],
        ] as const;
      });
      // The second time what is asked about is known.
      for (let time = 0; time < 2; time += 1) {
        const found = await Promise.all(asked.map(([ask]) => ask()));
        assert.deepEqual(
          found,
          asked.map(([, expected]) => expected),
        );
      }
    });
  }
}

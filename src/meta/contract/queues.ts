import assert from 'node:assert/strict';
import type { Review } from '../meta-store.ts';
import { type ContractFixture, DEMO, digestFor, ensure } from './fixture.ts';

export function queueContract(fixture: ContractFixture): void {
  const { check } = fixture;
  check('queues.review, a repeat, moves the due time forward only', async (store) => {
    const repository = await ensure(store);
    const blob: Review = {
      kind: 'blob',
      repositoryId: null,
      digest: digestFor('a'),
      reason: 'upload_committed',
      dueAt: 50,
    };
    const manifest: Review = {
      ...blob,
      kind: 'manifest',
      repositoryId: repository.id,
      reason: 'tag_moved',
      dueAt: 40,
    };
    await store.transaction(async (tx) => {
      await tx.queues.review(blob, 1);
      await tx.queues.review(manifest, 1);
      await tx.queues.review({ ...blob, dueAt: 30 }, 2);
    });
    assert.deepEqual(await store.read.queues.reviews({ dueBefore: null, limit: 10 }), [manifest, blob]);
    await store.transaction((tx) => tx.queues.review({ ...manifest, dueAt: 70 }, 3));
    assert.deepEqual(await store.read.queues.reviews({ dueBefore: 60, limit: 10 }), [blob]);
    assert.equal((await store.read.queues.reviews({ dueBefore: null, limit: 1 })).length, 1);
  });

  check('queues.publish, events come in the order of their commits', async (store) => {
    const event = { kind: 'manifest.pushed', repository: DEMO, principal: 'ann', occurredAt: 5 };
    for (const index of [1, 2, 3]) {
      await store.transaction((tx) => tx.queues.publish({ ...event, payload: { index } }));
    }
    const events = await store.read.queues.events({ afterId: 0, limit: 2 });
    assert.deepEqual(
      events.map((row) => row.payload['index']),
      [1, 2],
    );
    const rest = await store.read.queues.events({ afterId: events.at(-1)?.id ?? 0, limit: 2 });
    assert.deepEqual(rest, [{ ...event, id: rest[0]?.id, payload: { index: 3 } }]);
  });
}

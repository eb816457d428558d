import assert from 'node:assert/strict';
import { digestOf } from '../oci/digest.ts';
import type { Test } from './contract.ts';
import { blobBytes, chunksOf, stageBytes, stagedBytes } from './contract-bytes.ts';

/** An append whose lease is lost: another request may have made a blob of what it writes to. */
export function losing(test: Test): void {
  const reason = new Error('another request has taken over');

  test('append, lost before it begins, rejects with the reason and leaves what is staged', async (world) => {
    const { store, signal } = world;
    const id = await stageBytes(store, Buffer.from('acknowledged'), signal);
    for (const offset of [0, 5, 12]) {
      await assert.rejects(
        store.append(id, offset, chunksOf(['late']), signal, AbortSignal.abort(reason)),
        reason,
      );
      assert.equal((await stagedBytes(store, id, signal)).toString(), 'acknowledged', `at ${offset}`);
    }
    await store.withdraw(id);
  });

  test('append, lost before a chunk comes, rejects with the reason and leaves what is staged', async (world) => {
    const { store, signal } = world;
    const id = await stageBytes(store, Buffer.from('acknowledged'), signal);
    const lost = new AbortController();
    const source = async function* () {
      lost.abort(reason);
      yield Buffer.from('late');
    };
    await assert.rejects(store.append(id, 12, source(), signal, lost.signal), reason);
    assert.equal((await stagedBytes(store, id, signal)).toString(), 'acknowledged');
    await store.withdraw(id);
  });

  test('append, lost while another request commits what is staged, leaves the blob alone', async (world) => {
    const { store, signal } = world;
    const bytes = Buffer.from('acknowledged');
    const id = await stageBytes(store, bytes, signal);
    const lost = new AbortController();
    const isAsked = Promise.withResolvers<void>();
    const isCommitted = Promise.withResolvers<void>();
    const source = async function* () {
      isAsked.resolve();
      await isCommitted.promise;
      yield Buffer.from('late');
    };
    const late = assert.rejects(store.append(id, 12, source(), signal, lost.signal), reason);
    await isAsked.promise;
    lost.abort(reason);
    const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
    isCommitted.resolve();
    await late;
    assert.ok(blob !== null && (await blobBytes(store, blob.location, signal)).equals(bytes));
  });
}

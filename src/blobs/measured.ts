import type { Metrics } from '../telemetry/telemetry.ts';
import type { BlobBody, BlobLocation, BlobStore } from './blob-store.ts';

const MILLISECONDS_PER_SECOND = 1000;

/**
 * Reports how long the store's operations take. `append` counts the time until all bytes were received; `open` counts the
 * time until the body can be read, and `read` the life of a body up to its last byte or its error.
 */
export function measured(store: BlobStore, metrics: Pick<Metrics, 'storeOperation'>): BlobStore {
  const report = (operation: string, outcome: 'ok' | 'error', since: number): void =>
    metrics.storeOperation(
      store.driver,
      operation,
      outcome,
      (performance.now() - since) / MILLISECONDS_PER_SECOND,
    );
  const time = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    const since = performance.now();
    try {
      const result = await work();
      report(operation, 'ok', since);
      return result;
    } catch (error) {
      report(operation, 'error', since);
      throw error;
    }
  };
  const timeBody = (body: BlobBody | null): BlobBody | null =>
    body === null
      ? null
      : {
          sizeBytes: body.sizeBytes,
          chunks: timeChunks(body.chunks, (outcome, since) => report('read', outcome, since)),
          ...(body.recycle === undefined ? {} : { recycle: body.recycle }),
          close: () => body.close(),
        };
  const { presign, space } = store;
  return {
    driver: store.driver,
    append: (uploadId, offset, chunks, signal, lost) =>
      time('append', () => store.append(uploadId, offset, chunks, signal, lost)),
    staged: (uploadId) => time('staged', () => store.staged(uploadId)),
    readStaged: async (uploadId, signal) =>
      timeBody(await time('read_staged', () => store.readStaged(uploadId, signal))),
    commit: (uploadId, digest, sizeBytes) => time('commit', () => store.commit(uploadId, digest, sizeBytes)),
    discard: (uploadId) => time('discard', () => store.discard(uploadId)),
    withdraw: (uploadId) => time('withdraw', () => store.withdraw(uploadId)),
    open: async (location, range, signal, digest) =>
      timeBody(await time('open', () => store.open(location, range, signal, digest))),
    stat: (location) => time('stat', () => store.stat(location)),
    locate: (uploadId, digest) => store.locate(uploadId, digest),
    owns: (location) => store.owns(location),
    ...(store.leaves === undefined
      ? {}
      : { leaves: (location: BlobLocation) => store.leaves?.(location) ?? false }),
    delete: (location) => time('delete', () => store.delete(location)),
    list: (cursor, limit) => time('list', () => store.list(cursor, limit)),
    listStaged: (cursor, limit) => time('list_staged', () => store.listStaged(cursor, limit)),
    probe: (signal) => time('probe', () => store.probe(signal)),
    space: space === null ? null : () => time('space', () => space()),
    presign:
      presign === null
        ? null
        : {
            origin: presign.origin,
            isForClients: presign.isForClients,
            address: (request) => time('presign', () => presign.address(request)),
          },
    upkeep: store.upkeep,
    close: () => store.close(),
  };
}

async function* timeChunks(
  chunks: AsyncIterable<Uint8Array>,
  report: (outcome: 'ok' | 'error', since: number) => void,
): AsyncGenerator<Uint8Array, void, void> {
  const since = performance.now();
  let outcome: 'ok' | 'error' = 'ok';
  try {
    yield* chunks;
  } catch (error) {
    outcome = 'error';
    throw error;
  } finally {
    report(outcome, since);
  }
}

/**
 * The values of `source` until it ends; throws the signal's reason as soon as it aborts, also while `source` has nothing to
 * give. A generator stuck in `next()` cannot return: it is told to, and not waited for.
 */
export async function* untilAborted<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  const abort = Promise.withResolvers<never>();
  abort.promise.catch(() => undefined);
  const onAbort = (): void => abort.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  let ended = false;
  try {
    for (;;) {
      signal.throwIfAborted();
      const result = await Promise.race([iterator.next(), abort.promise]);
      if (result.done === true) {
        ended = true;
        return;
      }
      yield result.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    if (!ended) iterator.return?.().catch(() => undefined);
  }
}

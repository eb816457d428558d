import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** After the start, in milliseconds: what came with it, the first requests among it, is over. */
const SETTLED_MILLISECONDS = 1000;

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * A start leaves memory that V8 would only give back under pressure (docs/performance.md says how much): one collection,
 * once the process has settled. Its function is V8's own (`--expose-gc`), with nothing else that node would have for it.
 */
export function giveBackMemoryOnceSettled(): void {
  setTimeout(() => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as Collect;
    setFlagsFromString('--no-expose-gc');
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  }, SETTLED_MILLISECONDS).unref();
}

import type { Config } from '../config/config.ts';
import type { RegisteredNode } from '../meta/meta-store.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onLedger } from './stored-data.ts';

/** `drift node drain NODE`: it goes on serving, but is not ready any more and takes no job. `undo` ends that. */
export function runNodeDrain(
  args: ConfigCommandArgs,
  node: string,
  options: { readonly undo: boolean },
): Promise<ExitCode> {
  return onLedger(args, (config) => drain(args, config, { node, undo: options.undo }));
}

async function drain(
  args: ConfigCommandArgs,
  config: Config,
  request: { readonly node: string; readonly undo: boolean },
): Promise<ExitCode> {
  const meta = await openMetaStore(config, { mode: 'serve' });
  try {
    const found = pick(await meta.read.nodes.list(), request.node);
    if (typeof found === 'string') {
      args.stderr.write(`drift: ${found}\n`);
      return EXIT.FAILED;
    }
    await meta.transaction((tx) => tx.nodes.setDraining(found.id, !request.undo));
    const what = request.undo ? 'serves again' : 'drains: /readyz answers 503, what still comes is served';
    args.stdout.write(`${found.name} (${found.id}) ${what}.\n`);
    return EXIT.OK;
  } finally {
    await meta.close();
  }
}

/** The node of this id, or the only living one of this name; else a sentence. */
function pick(nodes: readonly RegisteredNode[], nameOrId: string): RegisteredNode | string {
  const byId = nodes.find(({ id }) => id === nameOrId);
  if (byId !== undefined) return byId;
  const named = nodes.filter(({ name, state }) => name === nameOrId && state !== 'gone');
  const [only, another] = named;
  if (only === undefined) return `no node that serves is called "${nameOrId}": see \`drift node list\`.`;
  if (another === undefined) return only;
  return `several nodes are called "${nameOrId}": name one by its id (${named.map(({ id }) => id).join(', ')}).`;
}

import type { Config } from '../config/config.ts';
import type { MetaStore, RegisteredNode } from '../meta/meta-store.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onLedger } from './stored-data.ts';

/** `drift node list`: the nodes on this ledger, as each last reported itself. */
export function runNodeList(args: ConfigCommandArgs, options: { readonly json: boolean }): Promise<ExitCode> {
  return onLedger(args, (config) => list(args, config, options.json));
}

async function list(args: ConfigCommandArgs, config: Config, json: boolean): Promise<ExitCode> {
  const meta = await openMetaStore(config, { mode: 'read' });
  try {
    const nodes = await meta.read.nodes.list();
    const now = await nowOf(meta);
    args.stdout.write(
      json ? `${JSON.stringify(nodes.map((node) => presentNode(node, now)))}\n` : table(nodes, now),
    );
    return EXIT.OK;
  } finally {
    await meta.close();
  }
}

async function nowOf(meta: MetaStore): Promise<number> {
  return meta.now === null ? Date.now() : meta.now();
}

function presentNode(node: RegisteredNode, now: number) {
  return {
    name: node.name,
    id: node.id,
    version: node.version,
    schemaVersion: node.schemaVersion,
    state: node.state,
    startedAt: new Date(node.startedAt).toISOString(),
    seenSecondsAgo: secondsAgo(node.seenAt, now),
    clockSkewMilliseconds: node.skewMillis,
    addresses: node.addresses,
  };
}

const HEAD = ['NAME', 'ID', 'VERSION', 'STATE', 'SEEN', 'CLOCK', 'ADDRESS'];

function table(nodes: readonly RegisteredNode[], now: number): string {
  if (nodes.length === 0) return 'No node serves this ledger.\n';
  const rows = nodes.map((node) => [
    node.name,
    node.id,
    node.version,
    node.state,
    `${secondsAgo(node.seenAt, now)} s ago`,
    skewText(node.skewMillis),
    node.addresses[0] ?? '',
  ]);
  const lines = [HEAD, ...rows];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function secondsAgo(at: number, now: number): number {
  return Math.max(0, Math.round((now - at) / 1000));
}

/** `+1.250 s`: this machine's clock is ahead of the ledger's. */
function skewText(millis: number): string {
  return `${millis < 0 ? '-' : '+'}${(Math.abs(millis) / 1000).toFixed(3)} s`;
}

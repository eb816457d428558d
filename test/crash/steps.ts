/**
 * Preloaded (`--import`) into every process of a Drift under test, never part of the product. It stands around what the
 * program asks of the operating system and of SQLite, so each call that changes something is a step with a name, and a
 * request can ask to be killed at one: `X-Crash-At: NAME#COUNT` before the call, `NAME#COUNT~` as soon as it was begun.
 * Nothing has to be written down for new code: what a request does are its steps. `X-Crash-Trace: ID` lists them.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';
import files, { type FileHandle } from 'node:fs/promises';
import { type IncomingMessage, ServerResponse } from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync, StatementSync } from 'node:sqlite';

interface Watched {
  readonly crashAt: string | null;
  readonly traceId: string | null;
  readonly seen: Map<string, number>;
}

type Method = (this: unknown, ...values: unknown[]) => unknown;

const TRACE_FILE = process.env.CRASH_TRACE_FILE ?? '';
const watching = new AsyncLocalStorage<Watched | null>();
/** What happens in no request: start, jobs, stop. */
const elsewhere = watched(process.env.CRASH_AT ?? null, process.env.CRASH_TRACE_ID ?? null);

function watched(crashAt: string | null, traceId: string | null): Watched | null {
  return crashAt === null && traceId === null ? null : { crashAt, traceId, seen: new Map() };
}

function step(name: string, act: () => unknown): unknown {
  const current = watching.getStore() ?? elsewhere;
  if (current === null) return act();
  const count = (current.seen.get(name) ?? 0) + 1;
  current.seen.set(name, count);
  const key = `${name}#${count}`;
  if (current.traceId !== null) appendFileSync(TRACE_FILE, `${current.traceId}\t${key}\n`);
  if (current.crashAt === key) killEverybody();
  const result = act();
  if (current.crashAt === `${key}~`) killEverybody();
  return result;
}

/** This process, the primary, the workers and the jobs process: the whole process group, which is ours alone. */
function killEverybody(): void {
  process.kill(0, 'SIGKILL');
}

function wrap(
  target: object,
  method: string,
  nameOf: (self: unknown, values: unknown[]) => string | null,
): void {
  const methods = target as Record<string, Method>;
  const original = methods[method];
  if (original === undefined) throw new Error(`there is no ${method} to stand around`);
  methods[method] = function (this: unknown, ...values: unknown[]): unknown {
    const name = nameOf(this, values);
    return name === null ? original.apply(this, values) : step(name, () => original.apply(this, values));
  };
}

function placeOf(path: unknown): string {
  const text = String(path);
  return /\/(uploads|blobs)(\/|$)/.exec(text)?.[1] ?? (text.endsWith('-wal') ? 'log' : 'root');
}

const places = new WeakMap<object, string>();
let handlesWatched = false;

/** Nothing here may wait: a child would miss the first message of its primary. */
function watchFiles(): void {
  for (const method of ['rename', 'unlink', 'mkdir'] as const) {
    wrap(files, method, (_, [path, target]) =>
      method === 'rename' ? `rename ${placeOf(path)} ${placeOf(target)}` : `${method} ${placeOf(path)}`,
    );
  }
  const { open } = files;
  files.open = async (path, ...rest) => {
    const writes = typeof rest[0] === 'number' && (rest[0] & 0o103) !== 0;
    const begin = (): Promise<FileHandle> => open(path, ...rest);
    const opened = (await (writes ? step(`open ${placeOf(path)}`, begin) : begin())) as FileHandle;
    places.set(opened, placeOf(path));
    if (!handlesWatched) watchHandles(Object.getPrototypeOf(opened) as object);
    return opened;
  };
  syncBuiltinESMExports();
}

function watchHandles(handle: object): void {
  handlesWatched = true;
  for (const method of ['writev', 'write', 'sync', 'datasync', 'truncate', 'utimes']) {
    wrap(handle, method, (self) => `${method} ${places.get(self as object) ?? 'root'}`);
  }
}

/** `insert blobs`, `commit`, `pragma wal_checkpoint(passive)`; null for what changes nothing. */
function statementName(sql: string): string | null {
  const words = sql
    .trim()
    .toLowerCase()
    .replaceAll('"', '')
    .split(/[\s;]+/);
  const [verb = '', second = '', third = ''] = words;
  if (verb === 'select' || verb === 'rollback') return null;
  if (verb === 'pragma') return second.startsWith('wal_checkpoint') ? `pragma ${second}` : null;
  if (verb === 'update') return `update ${second}`;
  return verb === 'begin' || verb === 'commit' ? verb : `${verb} ${third}`;
}

function watchDatabase(): void {
  wrap(DatabaseSync.prototype, 'exec', (_, [sql]) => statementName(String(sql)));
  for (const method of ['run', 'all']) {
    wrap(StatementSync.prototype, method, (self) => statementName((self as StatementSync).sourceSQL));
  }
}

function watchRequests(): void {
  subscribe('http.server.request.start', (message) => {
    const { headers } = (message as { request: IncomingMessage }).request;
    const text = (name: string): string | null =>
      headers[name] === undefined ? null : String(headers[name]);
    watching.enterWith(watched(text('x-crash-at'), text('x-crash-trace')));
  });
  wrap(ServerResponse.prototype, 'end', () => 'reply');
}

watchFiles();
watchDatabase();
watchRequests();

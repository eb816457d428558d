import { readVersion } from '../std/version.ts';
import { createTelemetry, type ProcessTelemetry } from '../telemetry/create-telemetry.ts';
import { giveBackMemoryOnceSettled } from './give-back-memory.ts';
import type { Addresses, FromChild, Reloadable, StartOrder, ToChild } from './ipc.ts';
import { startupFailure } from './startup-errors.ts';

/** What a child of the primary does between its start and its end. */
export interface ChildWork {
  readonly addresses: Addresses | null;
  reload(next: Reloadable): Promise<void>;
  stop(drainMilliseconds: number): Promise<void>;
}

export interface ChildContext {
  readonly telemetry: ProcessTelemetry;
  /** The metrics of all processes of this run, or of this one when the primary does not answer. */
  readonly expositionAll: () => Promise<string>;
}

type Begin = (order: StartOrder, context: ChildContext) => Promise<ChildWork>;

const EXPOSITION_MILLISECONDS_MAX = 5_000;

/** The life of a child process: everything it is told comes from the primary, and without a primary it ends. */
export function runChild(begin: Begin): void {
  // A terminal and a service manager send these to the whole group; only the primary knows what to do about them.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const child = new Child(begin);
  process.on('message', (message) => child.receive(message as ToChild));
  process.on('disconnect', () => process.exit(1));
}

class Child {
  readonly #begin: Begin;
  readonly #expositions = new Map<number, (text: string) => void>();
  #telemetry: ProcessTelemetry | null = null;
  #work: ChildWork | null = null;
  #expositionId = 0;

  constructor(begin: Begin) {
    this.#begin = begin;
    process.on('uncaughtException', (error) => this.#crash(error, 'an error that nothing caught'));
    process.on('unhandledRejection', (error) => this.#crash(error, 'a rejection that nothing handled'));
  }

  receive(message: ToChild): void {
    switch (message.kind) {
      case 'start':
        void this.#start(message);
        return;
      case 'reload':
        void this.#reload(message.id, message);
        return;
      case 'snapshot':
        void this.#snapshot(message.id);
        return;
      case 'exposition':
        this.#expositions.get(message.id)?.(message.text);
        return;
      case 'stop':
        void this.#stop(message.drainMilliseconds);
        return;
      default:
        message satisfies never;
    }
  }

  async #start(order: StartOrder): Promise<void> {
    const { server, logging } = order.config;
    const named = { role: order.role, node: server.nodeName, version: readVersion() };
    const telemetry = createTelemetry({ ...named, ...logging });
    this.#telemetry = telemetry;
    try {
      this.#work = await this.#begin(order, {
        telemetry,
        expositionAll: () => this.#expositionAll(telemetry),
      });
      await send({ kind: 'ready', addresses: this.#work.addresses });
      giveBackMemoryOnceSettled();
    } catch (error) {
      const failure = startupFailure(error);
      if (failure === null) {
        this.#crash(error, 'the start failed');
        return;
      }
      await send({ kind: 'failed', failure });
      this.#exit(failure.exitCode);
    }
  }

  async #reload(id: number, next: Reloadable): Promise<void> {
    let problem: string | null = null;
    try {
      await this.#work?.reload(next);
      this.#telemetry?.setFilter(next.filter);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    await send({ kind: 'reloaded', id, problem });
  }

  async #snapshot(id: number): Promise<void> {
    const snapshot = (await this.#telemetry?.metrics.snapshot()) ?? [];
    await send({ kind: 'snapshot', id, snapshot });
  }

  async #stop(drainMilliseconds: number): Promise<void> {
    try {
      await this.#work?.stop(drainMilliseconds);
    } catch (error) {
      this.#crash(error, 'stopping failed');
      return;
    }
    this.#exit(0);
  }

  async #expositionAll(telemetry: ProcessTelemetry): Promise<string> {
    this.#expositionId += 1;
    const id = this.#expositionId;
    const answer = Promise.withResolvers<string | null>();
    const timer = setTimeout(() => answer.resolve(null), EXPOSITION_MILLISECONDS_MAX);
    this.#expositions.set(id, answer.resolve);
    try {
      await send({ kind: 'exposition', id });
      return (await answer.promise) ?? (await telemetry.metrics.exposition());
    } finally {
      clearTimeout(timer);
      this.#expositions.delete(id);
    }
  }

  #crash(error: unknown, what: string): void {
    this.#telemetry?.logger('process').fatal({ err: error }, what);
    if (this.#telemetry === null) process.stderr.write(`${what}: ${String(error)}\n`);
    this.#exit(1);
  }

  #exit(code: number): void {
    this.#telemetry?.flush();
    process.exit(code);
  }
}

/** Resolves when the message is on its way, also when the primary is gone: then the process is about to end. */
function send(message: FromChild): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

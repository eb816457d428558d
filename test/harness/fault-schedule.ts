import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, Occasion } from './fault-proxy.ts';

const PASS: Fault = { kind: 'pass' };

/** The fault of the moment, and who meets it. */
export class FaultSchedule {
  #fault: Fault = PASS;
  #occasion: Occasion = {};
  #left = Number.POSITIVE_INFINITY;
  #change = Promise.withResolvers<void>();
  met = 0;

  set(fault: Fault, occasion: Occasion): void {
    this.#fault = fault;
    this.#occasion = occasion;
    this.#left = occasion.times ?? Number.POSITIVE_INFINITY;
    this.met = 0;
    const before = this.#change;
    this.#change = Promise.withResolvers();
    before.resolve();
  }

  /** Resolves when another fault is set. The same promise until then. */
  get change(): Promise<void> {
    return this.#change.promise;
  }

  /** What this request (or connection) meets; asked once for each. */
  meet(request?: { readonly method: string; readonly path: string }): Fault {
    const { method, path } = this.#occasion;
    const fits =
      (method === undefined || method === request?.method) &&
      (path === undefined || (request !== undefined && path.test(request.path)));
    if (this.#fault.kind === 'pass' || !fits || this.#left === 0) return PASS;
    this.#left -= 1;
    this.met += 1;
    return this.#fault;
  }
}

export interface ProxyParts {
  readonly targetPort: number;
  readonly schedule: FaultSchedule;
  readonly bytes: { up: number; down: number };
  readonly lanes: { readonly up: Lane; readonly down: Lane };
}

/** One way of a narrow line, which all connections share: each piece waits until those before it have passed. */
export class Lane {
  #freeAt = 0;

  async pass(bytes: number, bytesPerSecond: number): Promise<void> {
    this.#freeAt = Math.max(this.#freeAt, performance.now()) + (bytes / bytesPerSecond) * 1000;
    await delay(Math.max(0, this.#freeAt - performance.now()));
  }
}

/** How many bytes the fault lets through in this direction. */
export function bytesLeft(fault: Fault, direction: 'up' | 'down'): number {
  if (fault.kind === 'reset' && fault.direction === direction) return fault.afterBytes;
  if (fault.kind === 'truncate' && direction === 'down') return fault.afterBytes;
  return Number.POSITIVE_INFINITY;
}

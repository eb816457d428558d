import type { Server, Socket } from 'node:net';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { createAddressSet } from './base-url.ts';

/** All limits hold for one process: workers count apart. */
export interface ConnectionLimits {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** Proxies that carry many clients over one address. The machine itself is always among them. */
  readonly trustedClientProxies: readonly string[];
}

/** A flood of refused connections must not become a flood of log lines. */
const REFUSAL_LINE_MILLISECONDS = 60_000;

/** One counter over all listeners of a process. */
export class ConnectionCount {
  readonly #limits: ConnectionLimits;
  readonly #exempt: ReturnType<typeof createAddressSet>;
  readonly #perAddress = new Map<string, number>();
  readonly #log: ReturnType<Telemetry['logger']>;
  #total = 0;
  #refused = 0;
  #refusalToldAt = Number.NEGATIVE_INFINITY;

  constructor(limits: ConnectionLimits, log: ReturnType<Telemetry['logger']>) {
    this.#limits = limits;
    this.#log = log;
    this.#exempt = createAddressSet(['127.0.0.0/8', '::1', ...limits.trustedClientProxies]);
  }

  get total(): number {
    return this.#total;
  }

  /** Refuses what is over a limit before a byte of it is read. */
  watch(server: Server): void {
    server.prependListener('connection', (socket: Socket) => {
      const address = socket.remoteAddress ?? '';
      if (!this.#admit(address)) {
        // No TLS or HTTP is spoken yet and none can be afforded: the reset is the answer.
        socket.resetAndDestroy();
        this.#tellRefusal(address);
        return;
      }
      socket.once('close', () => this.#release(address));
    });
  }

  #admit(address: string): boolean {
    const here = this.#perAddress.get(address) ?? 0;
    if (this.#total >= this.#limits.connectionsMax) return false;
    if (here >= this.#limits.connectionsPerAddressMax && !this.#exempt.has(address)) return false;
    this.#total += 1;
    this.#perAddress.set(address, here + 1);
    return true;
  }

  #tellRefusal(address: string): void {
    this.#refused += 1;
    const now = performance.now();
    if (now - this.#refusalToldAt < REFUSAL_LINE_MILLISECONDS) return;
    this.#refusalToldAt = now;
    this.#log.warn(
      { address, refused: this.#refused, open: this.#total },
      'connections over the limit refused',
    );
    this.#refused = 0;
  }

  #release(address: string): void {
    this.#total -= 1;
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, left);
  }
}

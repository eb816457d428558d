import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from './fault-proxy.ts';
import { bytesLeft, type FaultSchedule, type ProxyParts } from './fault-schedule.ts';

/** Faults by connection: each direction is a loop that takes a piece, looks at the fault, and passes the piece on. */
export function createTcpServer(parts: ProxyParts): Server {
  return createServer({ allowHalfOpen: true }, (client) => void new Line(client, parts).run());
}

class Line {
  readonly #client: Socket;
  readonly #parts: ProxyParts;
  readonly #closed: Promise<unknown>;
  #met: { readonly fault: Fault; readonly until: Promise<void> } | null = null;
  /** Since the present fault was set. */
  #passed = { up: 0, down: 0 };

  constructor(client: Socket, parts: ProxyParts) {
    this.#client = client;
    this.#parts = parts;
    client.on('error', () => {});
    this.#closed = new Promise((resolve) => client.once('close', resolve));
  }

  async run(): Promise<void> {
    await this.#held();
    if (this.#client.destroyed) return;
    const service = connect({ port: this.#parts.targetPort, host: '127.0.0.1', allowHalfOpen: true });
    service.on('error', () => this.#client.resetAndDestroy());
    void this.#closed.then(() => service.destroy());
    await Promise.all([this.#pump(this.#client, service, 'up'), this.#pump(service, this.#client, 'down')]);
  }

  /** Waits as long as the line hangs; answers what it meets then. */
  async #held(): Promise<Fault> {
    for (;;) {
      const fault = this.#fault(this.#parts.schedule);
      if (fault.kind !== 'hang' || this.#client.destroyed) return fault;
      await Promise.race([this.#met?.until, this.#closed]);
    }
  }

  /** Each connection meets a fault once, and then has it until the next one is set. */
  #fault(schedule: FaultSchedule): Fault {
    if (this.#met?.until !== schedule.change) {
      this.#met = { fault: schedule.meet(), until: schedule.change };
      this.#passed = { up: 0, down: 0 };
    }
    return this.#met.fault;
  }

  async #pump(from: Socket, to: Socket, direction: 'up' | 'down'): Promise<void> {
    try {
      // The end of the loop shall not end the connection in good order.
      const pieces = from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
      for await (const piece of pieces) {
        const fault = await this.#held();
        if (fault.kind === 'delay') await delay(fault.milliseconds);
        const bytesMax = bytesLeft(fault, direction) - this.#passed[direction];
        const part = piece.subarray(0, bytesMax);
        if (fault.kind === 'throttle')
          await this.#parts.lanes[direction].pass(part.length, fault.bytesPerSecond);
        this.#passed[direction] += part.length;
        this.#parts.bytes[direction] += part.length;
        if (part.length > 0) await new Promise<void>((resolve) => to.write(part, () => resolve()));
        if (part.length >= bytesMax) return this.#break(fault);
      }
      to.end();
    } catch {
      this.#client.resetAndDestroy();
    }
  }

  #break(fault: Fault): void {
    if (fault.kind === 'truncate') this.#client.end();
    else this.#client.resetAndDestroy();
  }
}

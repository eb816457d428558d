import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { type PgBouncer, startPgBouncer } from '../../../test/harness/pgbouncer.ts';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import { uploadOf } from '../contract/fixture.ts';
import type { MetaStore, Notice } from '../meta-store.ts';
import { openTestStore } from './open-test-store.ts';

const CONCURRENT = { concurrent: true };

/** What a store logs of its notices, and a promise for the next line that says so. */
class Heard {
  readonly lines: string[] = [];
  readonly #waiting = new Set<() => void>();
  readonly log = pino({}, { write: (line: string) => this.#take((JSON.parse(line) as { msg: string }).msg) });

  async line(pattern: RegExp): Promise<void> {
    while (!this.lines.some((line) => pattern.test(line))) {
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
      });
    }
  }

  #take(line: string): void {
    this.lines.push(line);
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** Publishes again and again until it arrives: a subscription begins some time after it was asked for. */
async function untilHeard(from: MetaStore, to: MetaStore, name: string): Promise<void> {
  let isHeard = false;
  const end = to.notices.subscribe((notice: Notice) => {
    if (notice.kind === 'lease_freed' && notice.name === name) isHeard = true;
  });
  while (!isHeard) {
    await from.transaction((tx) => tx.publish({ kind: 'lease_freed', name }), CONCURRENT);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  end();
}

describe('notices of PostgreSQL', { timeout: 120_000 }, () => {
  let postgres: Postgres;
  let pgbouncer: PgBouncer;

  before(async () => {
    postgres = await startPostgres({ durable: false });
    pgbouncer = await startPgBouncer(postgres);
  });

  after(async () => {
    await pgbouncer[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  it('a notice, published by one process, arrives at another', async () => {
    const url = await postgres.createDatabase();
    const [one, other] = [await openTestStore(url), await openTestStore(url)];
    await untilHeard(one, other, 'first');
    await one.close();
    await other.close();
  });

  it('an upload that is wanted, and then freed, is told once each, and one that nobody wants never', async () => {
    const url = await postgres.createDatabase();
    const [one, other] = [await openTestStore(url), await openTestStore(url)];
    await untilHeard(one, other, 'listens');
    const heard: string[] = [];
    other.notices.subscribe((notice) => {
      if ('id' in notice) heard.push(`${notice.kind} ${notice.id}`);
    });
    await wantAndFree(one);
    // What was published before it has arrived before it.
    await untilHeard(one, other, 'last');
    assert.deepEqual(heard, ['upload_wanted wanted', 'upload_freed wanted']);
    await one.close();
    await other.close();
  });

  it('notices, after the database was killed and came back, arrive again, said once', async () => {
    const url = await postgres.createDatabase();
    const heard = new Heard();
    const one = await openTestStore(url, { log: heard.log });
    await untilHeard(one, one, 'before');
    await postgres.kill();
    await heard.line(/no notices/);
    await postgres.start();
    await heard.line(/arrive again/);
    await untilHeard(one, one, 'after');
    assert.equal(heard.lines.length, 2);
    await one.close();
  });

  it('notices, behind a pooler in transaction mode, do not arrive and are no failure', async () => {
    const url = pgbouncer.through(await postgres.createDatabase());
    const heard = new Heard();
    const one = await openTestStore(url, { log: heard.log });
    one.notices.subscribe(() => {});
    await heard.line(/no notices/);
    await one.probe(new AbortController().signal);
    await one.close();
  });

  it('notices, behind a pooler with an address of the database itself, arrive', async () => {
    const direct = await postgres.createDatabase();
    const one = await openTestStore(pgbouncer.through(direct), { listenUrl: direct });
    await untilHeard(one, one, 'past the pooler');
    await one.close();
  });
});

async function wantAndFree(store: MetaStore): Promise<void> {
  for (const id of ['wanted', 'alone']) {
    const upload = uploadOf(id);
    await store.transaction((tx) => tx.uploads.insert(upload), CONCURRENT);
    await store.transaction((tx) => tx.uploads.acquire(upload.id, 'a', 60_000), CONCURRENT);
    if (id === 'wanted') {
      for (const token of ['b', 'b', 'c']) {
        await store.transaction((tx) => tx.uploads.acquire(upload.id, token, 60_000), CONCURRENT);
      }
    }
    await store.transaction((tx) => tx.uploads.delete(upload.id, 'a'), CONCURRENT);
  }
}

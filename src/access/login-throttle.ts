import { isIPv4, isIPv6 } from 'node:net';
import type { LoginFailures, MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import { optionalWrite } from './optional-write.ts';
import { SpareChecks } from './spare-checks.ts';
import type { Stamps } from './stamps.ts';

/**
 * Slows failed logins down, for all processes alike (the counters are rows). Three counters, because each alone is either
 * easy to go round or locks out the innocent:
 * - the account from this address: guessing one password. An account that logged in from there before keeps a few checks
 *   (`SpareChecks`);
 * - the address: guessing over many accounts. Does not hold back accounts that logged in from there before, so one bad
 *   client behind an address does not stop the others;
 * - the account: guessing from many addresses. Does not hold back addresses that the account logged in from before, so
 *   nobody can lock somebody else out.
 */
interface Counter {
  readonly key: string;
  /** Failures without any delay. */
  readonly free: number;
  /** Whether a pair that logged in before is exempt. */
  readonly exemptsKnown: boolean;
}

const PAIR_FAILURES_FREE = 5;
const ADDRESS_FAILURES_FREE = 30;
const ACCOUNT_FAILURES_FREE = 50;
const DELAY_MS_MIN = 1_000;
const DELAY_MS_MAX = 60_000;
/** Counters go this long after the last failure. */
const FAILURES_KEPT_MS = 15 * 60_000;
/** A pair that logged in stays known this long. */
const KNOWN_KEPT_MS = 30 * 24 * 3_600_000;

export interface LoginAttempt {
  readonly name: string;
  readonly address: string;
  /** Tells this password, account as it stands and address from any others, and gives nothing of the password away. */
  readonly guess: string;
}

export interface LoginThrottle {
  /** Seconds to wait before this login may be tried, null when it may be now. */
  wait(attempt: LoginAttempt): Promise<number | null>;
  failed(attempt: LoginAttempt): Promise<void>;
  /** A ledger that cannot be written (a full disk) does not stop a right login. */
  succeeded(attempt: LoginAttempt): Promise<void>;
}

export function createLoginThrottle(deps: {
  readonly meta: MetaStore;
  readonly clock: Clock;
  readonly stamps: Stamps;
}): LoginThrottle {
  const { meta, clock, stamps } = deps;
  const spare = new SpareChecks(clock);

  async function wait(attempt: LoginAttempt): Promise<number | null> {
    const now = clock.now();
    const keys = keysOf(stamps, attempt);
    const rows = await meta.read.access.loginFailures(
      [...keys.counters.map(({ key }) => key), keys.known],
      now,
    );
    const known = rows.some(({ key }) => key === keys.known);
    let until = now;
    for (const { key, exemptsKnown } of keys.counters) {
      if (known && exemptsKnown) continue;
      until = Math.max(until, find(rows, key)?.blockedUntil ?? 0);
    }
    if (until <= now || (known && spare.admit(keys.pair, attempt.guess))) return null;
    return Math.ceil((until - now) / 1000);
  }

  async function failed(attempt: LoginAttempt): Promise<void> {
    const now = clock.now();
    const { counters } = keysOf(stamps, attempt);
    spare.wrong(attempt.guess);
    await meta.transaction(
      async (tx) => {
        const rows = await tx.access.loginFailures(
          counters.map(({ key }) => key),
          now,
        );
        for (const { key, free } of counters) {
          const failures = (find(rows, key)?.failures ?? 0) + 1;
          const delay = delayMs(failures - free);
          // Without a delay nothing is said of a time: it would be in the future of a node whose clock is a moment behind.
          const blockedUntil = delay === 0 ? 0 : now + delay;
          await tx.access.putLoginFailures({ key, failures, blockedUntil }, now + delay + FAILURES_KEPT_MS);
        }
      },
      { durable: false },
    );
  }

  async function succeeded(attempt: LoginAttempt): Promise<void> {
    const now = clock.now();
    const { pair, known } = keysOf(stamps, attempt);
    const rows = await meta.read.access.loginFailures([pair, known], now);
    const isKnown = find(rows, known) !== null;
    if (isKnown && find(rows, pair) === null) return;
    await optionalWrite(
      meta.transaction(
        async (tx) => {
          await tx.access.clearLoginFailures([pair]);
          await tx.access.putLoginFailures({ key: known, failures: 0, blockedUntil: 0 }, now + KNOWN_KEPT_MS);
        },
        { durable: false },
      ),
    );
  }

  return { wait, failed, succeeded };
}

function keysOf(
  stamps: Stamps,
  { name, address }: LoginAttempt,
): { counters: readonly Counter[]; pair: string; known: string } {
  const from = networkOf(address);
  // Hashed: people type passwords where names belong, and a key has a length.
  const account = stamps.stamp('login', name);
  const pair = `login:${account}@${from}`;
  return {
    pair,
    known: `known:${account}@${from}`,
    counters: [
      { key: pair, free: PAIR_FAILURES_FREE, exemptsKnown: false },
      { key: `address:${from}`, free: ADDRESS_FAILURES_FREE, exemptsKnown: true },
      { key: `account:${account}`, free: ACCOUNT_FAILURES_FREE, exemptsKnown: true },
    ],
  };
}

function find(rows: readonly LoginFailures[], key: string): LoginFailures | null {
  return rows.find((row) => row.key === key) ?? null;
}

function delayMs(failuresCounted: number): number {
  if (failuresCounted <= 0) return 0;
  return Math.min(DELAY_MS_MIN * 2 ** Math.min(failuresCounted - 1, 30), DELAY_MS_MAX);
}

/** One subscriber has a whole IPv6 /64 to come from. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  if (isIPv4(address)) return address;
  const plain = address.split('%')[0] ?? '';
  if (!isIPv6(plain)) return 'unknown';
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : Math.max(8 - before.length - after.length, 0);
  const groups = [...before, ...Array<string>(gap).fill('0'), ...after].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}

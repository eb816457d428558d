import { setTimeout as sleep } from 'node:timers/promises';
import type { MetaReads } from '../meta-store.ts';
import type { Run } from './dialect.ts';
import { type Held, Pool, type PoolOptions } from './pool.ts';

/** How long a list waits for a replica that is a little behind before the primary answers it, and how often it looks. */
const behindMillisMax = 40;
const lookEveryMillis = 4;
/** A replica that could not answer is left alone for so long, in milliseconds. */
const restMillis = 1_000;

/**
 * How far the primary's log is flushed: whatever lists show was committed durably, so visible only once it was flushed. The
 * identifier is that of the cluster: positions in another one's log mean nothing.
 */
const PRIMARY_POSITION =
  'select pg_current_wal_flush_lsn()::text as position, system_identifier::text as cluster from pg_control_system()';
const REPLICA_POSITION = `select pg_is_in_recovery() and system_identifier::text = $2
    and pg_last_wal_replay_lsn() >= $1::pg_lsn as fresh
  from pg_control_system()`;

interface Replica {
  readonly pool: Pool;
  restsUntil: number;
}

/**
 * Streaming replicas that answer lists. Each question asks the primary how far its log is and goes to a replica that has
 * replayed as much: it sees all that was committed before it began. Where none has, or none can, the primary answers.
 */
export class Replicas {
  readonly #primary: Run;
  readonly #replicas: readonly Replica[];
  #next = 0;

  constructor(primary: Run, urls: readonly string[], options: Omit<PoolOptions, 'url'>) {
    this.#primary = primary;
    this.#replicas = urls.map((url) => ({ pool: new Pool({ ...options, url, log: null }), restsUntil: 0 }));
  }

  readonly run: Run = async (sql, parameters) => {
    const replica = this.#choose();
    if (replica === null) return this.#primary(sql, parameters);
    const { rows } = await this.#primary(PRIMARY_POSITION, []);
    const position = [rows[0]?.['position'], rows[0]?.['cluster']];
    try {
      const answer = await withConnection(replica.pool, async (held) =>
        (await isFresh(held, position)) ? held.run(sql, parameters) : null,
      );
      if (answer !== null) return answer;
    } catch {
      // Away, or it had to end the statement in favour of what it replays. Nothing that the caller needs to know.
      replica.restsUntil = performance.now() + restMillis;
    }
    return this.#primary(sql, parameters);
  };

  async close(): Promise<void> {
    await Promise.all(this.#replicas.map(({ pool }) => pool.close()));
  }

  /** In turn, of those that do not rest. */
  #choose(): Replica | null {
    const now = performance.now();
    const ready = this.#replicas.filter(({ restsUntil }) => restsUntil <= now);
    this.#next += 1;
    return ready[this.#next % ready.length] ?? null;
  }
}

async function withConnection<T>(pool: Pool, work: (held: Held) => Promise<T>): Promise<T> {
  const held = await pool.hold();
  let broken = true;
  try {
    const value = await work(held);
    broken = false;
    return value;
  } finally {
    held.release(broken);
  }
}

/** What follows on the same server sees at least as much: what is replayed stays so. */
async function isFresh(held: Held, position: readonly unknown[]): Promise<boolean> {
  const deadline = performance.now() + behindMillisMax;
  for (;;) {
    const { rows } = await held.run(REPLICA_POSITION, position);
    if (rows[0]?.['fresh'] === true) return true;
    if (performance.now() + lookEveryMillis > deadline) return false;
    await sleep(lookEveryMillis);
  }
}

/** The reads with those that are lists taken from `lists`: long answers, and nobody pulls by them. */
export function withLists(reads: MetaReads, lists: MetaReads): MetaReads {
  const { repositories, tags, manifests, blobs } = reads;
  return {
    ...reads,
    repositories: {
      find: (name) => repositories.find(name),
      list: (query) => lists.repositories.list(query),
    },
    tags: {
      find: (repository, tag) => tags.find(repository, tag),
      list: (query) => lists.tags.list(query),
      onManifest: (repository, digest) => tags.onManifest(repository, digest),
      history: (repository, tag, limit) => lists.tags.history(repository, tag, limit),
    },
    manifests: {
      getByTag: (repository, tag) => manifests.getByTag(repository, tag),
      getByDigest: (repository, digest) => manifests.getByDigest(repository, digest),
      state: (repository, digest) => manifests.state(repository, digest),
      liveAmong: (repository, digests) => manifests.liveAmong(repository, digests),
      references: (repository, digest) => manifests.references(repository, digest),
      referrersSize: (query) => lists.manifests.referrersSize(query),
      referrersText: (query) => lists.manifests.referrersText(query),
      referencedBy: (repository, target) => manifests.referencedBy(repository, target),
      parents: (query) => manifests.parents(query),
      scan: (after, limit) => manifests.scan(after, limit),
    },
    blobs: {
      findLinked: (repository, digest) => blobs.findLinked(repository, digest),
      find: (digest) => blobs.find(digest),
      linkedAmong: (repository, digests) => blobs.linkedAmong(repository, digests),
      repositoriesLinking: (digest, after, limit) => lists.blobs.repositoriesLinking(digest, after, limit),
      scan: (after, limit) => blobs.scan(after, limit),
      leftBehind: (limit) => blobs.leftBehind(limit),
      scanLinks: (after, limit) => blobs.scanLinks(after, limit),
    },
  };
}

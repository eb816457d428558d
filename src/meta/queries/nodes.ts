import { type Kysely, sql } from 'kysely';
import type * as contract from '../meta-store.ts';
import type { Database, NodeTable } from '../schema.ts';
import type { Surroundings } from './surroundings.ts';

export class NodeReads implements contract.NodeReads {
  protected readonly db: Kysely<Database>;
  readonly #now: Surroundings['now'];

  constructor(db: Kysely<Database>, now: Surroundings['now']) {
    this.db = db;
    this.#now = now;
  }

  /** Sorts the few that there are. */
  async list(): Promise<readonly contract.RegisteredNode[]> {
    const rows = await this.db
      .selectFrom('nodes')
      .selectAll()
      .select(sql<number>`case when seen_until < ${this.#now()} then 1 else 0 end`.as('gone'))
      .orderBy('name')
      .orderBy('started_at')
      .orderBy('id')
      .execute();
    return rows.map(nodeFromRow);
  }

  async isDraining(id: string): Promise<boolean> {
    const row = await this.db.selectFrom('nodes').select('draining').where('id', '=', id).executeTakeFirst();
    return row !== undefined && row.draining !== 0;
  }
}

export class NodeQueries extends NodeReads implements contract.NodeWrites {
  readonly #surroundings: Surroundings;

  constructor(db: Kysely<Database>, surroundings: Surroundings) {
    super(db, surroundings.now);
    this.#surroundings = surroundings;
  }

  async report(
    node: contract.NodeReport,
    seenForMillis: number,
    draining: boolean,
  ): Promise<{ readonly draining: boolean }> {
    const now = this.#surroundings.now();
    const values = {
      name: node.name,
      version: node.version,
      schema_version: node.schemaVersion,
      addresses: JSON.stringify(node.addresses),
      seen_at: now,
      seen_until: sql<number>`${now} + ${sql.lit(seenForMillis)}`,
      skew_millis: node.skewMillis,
    };
    const row = await this.db
      .insertInto('nodes')
      .values({ id: node.id, started_at: node.startedAt, draining: draining ? 1 : 0, ...values })
      .onConflict((conflict) => conflict.column('id').doUpdateSet(values))
      .returning('draining')
      .executeTakeFirstOrThrow();
    return { draining: row.draining !== 0 };
  }

  async setDraining(id: string, draining: boolean): Promise<boolean> {
    const result = await this.db
      .updateTable('nodes')
      .set({ draining: draining ? 1 : 0 })
      .where('id', '=', id)
      .executeTakeFirst();
    await this.#surroundings.publish({ kind: 'node_changed', id });
    return result.numUpdatedRows > 0n;
  }

  async remove(id: string): Promise<void> {
    await this.db.deleteFrom('nodes').where('id', '=', id).execute();
  }

  async expire(unseenMillis: number): Promise<void> {
    const before = sql<number>`${this.#surroundings.now()} - ${sql.lit(unseenMillis)}`;
    await this.db.deleteFrom('nodes').where('seen_at', '<', before).execute();
  }
}

function nodeFromRow(row: NodeTable & { readonly gone: number }): contract.RegisteredNode {
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    schemaVersion: row.schema_version,
    addresses: JSON.parse(row.addresses) as string[],
    startedAt: row.started_at,
    seenAt: row.seen_at,
    skewMillis: row.skew_millis,
    state: row.gone !== 0 ? 'gone' : row.draining !== 0 ? 'draining' : 'serving',
  };
}

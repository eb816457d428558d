import type { Kysely } from 'kysely';
import type { RepositoryName } from '../../oci/name.ts';
import { digestFromBytes, digestToBytes } from '../digest-bytes.ts';
import type * as contract from '../meta-store.ts';
import type { Database } from '../schema.ts';

/** In the rows of `blob`: a blob belongs to no repository, and a unique key needs a value. */
const NO_REPOSITORY = 0;

export class QueueReads implements contract.QueueReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async reviews(query: Parameters<contract.QueueReads['reviews']>[0]): Promise<readonly contract.Review[]> {
    const rows = await this.db
      .selectFrom('review_queue')
      .select(['kind', 'repository_id', 'digest', 'reason', 'due_at'])
      .where('due_at', '<', query.dueBefore ?? Number.MAX_SAFE_INTEGER)
      .orderBy('due_at')
      .orderBy('id')
      .limit(query.limit)
      .execute();
    return rows.map((row) => ({
      kind: row.kind,
      repositoryId: row.repository_id === NO_REPOSITORY ? null : (row.repository_id as contract.RepositoryId),
      digest: digestFromBytes(row.digest),
      reason: row.reason,
      dueAt: row.due_at,
    }));
  }

  async events(query: Parameters<contract.QueueReads['events']>[0]) {
    const rows = await this.db
      .selectFrom('outbox')
      .selectAll()
      .where('id', '>', query.afterId)
      .orderBy('id')
      .limit(query.limit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      kind: row.kind,
      repository: row.repository as RepositoryName,
      principal: row.principal,
      occurredAt: row.occurred_at,
      payload: JSON.parse(row.payload) as Record<string, unknown>,
    }));
  }
}

export class QueueQueries extends QueueReads implements contract.QueueWrites {
  async review(review: contract.Review, queuedAt: number): Promise<void> {
    await this.db
      .insertInto('review_queue')
      .values({
        kind: review.kind,
        repository_id: review.repositoryId ?? NO_REPOSITORY,
        digest: digestToBytes(review.digest),
        reason: review.reason,
        queued_at: queuedAt,
        due_at: review.dueAt,
        attempts: 0,
      })
      .onConflict((conflict) =>
        conflict
          .columns(['kind', 'repository_id', 'digest'])
          .doUpdateSet((eb) => ({ due_at: eb.ref('excluded.due_at'), reason: eb.ref('excluded.reason') }))
          .whereRef('review_queue.due_at', '<', 'excluded.due_at'),
      )
      .execute();
  }

  async publish(event: contract.OutboxEvent): Promise<void> {
    await this.db
      .insertInto('outbox')
      .values({
        kind: event.kind,
        repository: event.repository,
        principal: event.principal,
        occurred_at: event.occurredAt,
        payload: JSON.stringify(event.payload),
      })
      .execute();
  }
}

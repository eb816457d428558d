import pg from 'pg';

export interface Explained {
  readonly sql: string;
  /** Tables that were read from end to end. */
  readonly scans: readonly string[];
  /** Of each partitioned table, how many of its parts were looked into. */
  readonly parts: ReadonlyMap<string, number>;
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Loops': number;
  readonly Plans?: readonly Plan[];
}

const PART = /^(.*)_\d+$/;

/** Runs statements in a transaction that is never committed, and keeps what the database says of how it ran them. */
export class Explainer {
  readonly #client: pg.Client;
  readonly explained: Explained[] = [];

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  /** With `honest` false the planner reads a whole table only where it has no other way: for tables that are all but empty. */
  static async open(url: string, options: { readonly honest?: boolean } = {}): Promise<Explainer> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('begin');
    if (options.honest !== true) await client.query('set local enable_seqscan = off');
    return new Explainer(client);
  }

  readonly run = async (sql: string, parameters: readonly unknown[]) => {
    const values = parameters as unknown[];
    await this.#client.query('savepoint before');
    const { rows } = await this.#client.query(`explain (analyze, format json) ${sql}`, values);
    const [{ Plan: plan }] = rows[0]['QUERY PLAN'] as [{ Plan: Plan }];
    this.explained.push(describe(sql, plan));
    await this.#client.query('rollback to savepoint before');
    const result = await this.#client.query(sql, values);
    return { rows: result.rows, changes: result.rowCount ?? 0, command: result.command };
  };

  async close(): Promise<void> {
    await this.#client.query('rollback');
    await this.#client.end();
  }
}

function describe(sql: string, top: Plan): Explained {
  const scans: string[] = [];
  const relations = new Set<string>();
  for (const plan of nodesOf(top)) {
    const relation = plan['Relation Name'];
    if (relation === undefined || plan['Actual Loops'] === 0) continue;
    // The part that a row is written into.
    if (plan['Node Type'] === 'ModifyTable') continue;
    relations.add(relation);
    if (plan['Node Type'] === 'Seq Scan') scans.push(relation);
  }
  const parts = new Map<string, number>();
  for (const relation of relations) {
    const table = PART.exec(relation)?.[1];
    if (table !== undefined) parts.set(table, (parts.get(table) ?? 0) + 1);
  }
  return { sql, scans, parts };
}

function* nodesOf(plan: Plan): Generator<Plan, void, void> {
  yield plan;
  for (const child of plan.Plans ?? []) yield* nodesOf(child);
}

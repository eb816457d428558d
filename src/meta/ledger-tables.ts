import { createHash } from 'node:crypto';

/**
 * A ledger's tables as plain rows, for copies from one database to another. Nothing here knows what the rows mean; that
 * they come over whole is proved by reading both sides.
 */
export type Value = string | number | Uint8Array | null;
export type Row = Readonly<Record<string, Value>>;

/** What differs between databases. One connection, and whoever opened it closes it. */
export interface TablesDriver {
  /** For people: which database it is, without a secret. */
  readonly place: string;
  run(sql: string, parameters: readonly Value[]): Promise<{ readonly rows: readonly Row[] }>;
  /** Of the parameter with this number, from 1. */
  readonly placeholder: (index: number) => string;
  /** Of every table of ours, parts of tables and the list of migrations aside. */
  columns(): Promise<readonly { readonly table: string; readonly column: string }[]>;
  /** Opens a transaction that sees one state of all tables, or that writes alone. */
  begin(intent: 'read' | 'write'): Promise<void>;
  /** The last number that each table gave to a row, also when that row is gone: it is not given again. */
  lastIds(): Promise<ReadonlyMap<string, number>>;
  setLastId(table: string, id: number): Promise<void>;
  /** After a commit that changed nearly everything. */
  settle(): Promise<void>;
  /** In the order of their versions; none where nothing was made yet. */
  schema(): Promise<readonly AppliedMigration[]>;
  close(): Promise<void>;
}

export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly appliedAt: number;
  /** The oldest schema whose programs may work on this one. */
  readonly compatibleFrom: number;
}

/** The columns by which rows of a table are told apart and, on both databases, found in order. */
export const KEYS: Readonly<Record<string, readonly string[]>> = {
  repositories: ['id'],
  manifests: ['repository_id', 'digest'],
  manifest_references: ['repository_id', 'manifest', 'kind', 'position'],
  tags: ['repository_id', 'name', 'id'],
  blobs: ['digest'],
  moved_blobs: ['location'],
  links: ['repository_id', 'digest'],
  uploads: ['id'],
  ended_uploads: ['id'],
  review_queue: ['id'],
  outbox: ['id'],
  users: ['name'],
  refresh_tokens: ['token_hash'],
  signing_keys: ['key_id'],
  login_failures: ['key'],
  leases: ['name'],
  settings: ['key'],
};

/** Nodes report themselves again, wherever they run next. */
const OF_THE_MOMENT: ReadonlySet<string> = new Set(['nodes']);
/** Rows that belong to the database rather than to the ledger: how many parts its tables have. */
const KEPT: Readonly<Record<string, string>> = { settings: "key not like 'schema:%'" };

/** Rows read and written at a time; of manifests fewer, since each may have some MiB. */
const pageRows = 500;
const manifestPageRows = 16;

export interface CopiedTable {
  readonly table: string;
  readonly rows: number;
  /** SHA-256 over all rows in the order of their keys, hex; of the source. */
  readonly checksum: string;
  readonly isEqual: boolean;
}

/** The target holds a ledger already. */
export class TargetNotEmpty extends Error {}

/**
 * Copies every row and reads both sides again. All or nothing: a difference, or an error, leaves the target as it was. Both
 * must have the schema of this program. Throws `TargetNotEmpty` unless `replace`.
 */
export async function copyLedger(
  source: TablesDriver,
  target: TablesDriver,
  options: { readonly replace: boolean; readonly report: (copied: CopiedTable) => void },
): Promise<{ readonly isEqual: boolean }> {
  const shapes = await sameTables(source, target);
  await source.begin('read');
  await target.begin('write');
  try {
    for (const shape of shapes) await makeRoom(target, shape.table, options.replace);
    let isEqual = true;
    for (const shape of shapes) {
      const copied = await copyTable(source, target, shape);
      options.report(copied);
      isEqual &&= copied.isEqual;
    }
    for (const [table, id] of await source.lastIds()) await target.setLastId(table, id);
    await target.run(isEqual ? 'commit' : 'rollback', []);
    await source.run('rollback', []);
    if (isEqual) await target.settle();
    return { isEqual };
  } catch (error) {
    await source.run('rollback', []).catch(() => {});
    await target.run('rollback', []).catch(() => {});
    throw error;
  }
}

interface Shape {
  readonly table: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

async function shapesOf(driver: TablesDriver): Promise<readonly Shape[]> {
  const columns = new Map<string, string[]>();
  for (const { table, column } of await driver.columns()) {
    if (OF_THE_MOMENT.has(table)) continue;
    columns.set(table, [...(columns.get(table) ?? []), column]);
  }
  return [...columns.keys()].sort().map((table) => {
    const key = KEYS[table];
    if (key === undefined) throw new Error(`nobody has said by what rows of ${table} are told apart`);
    return { table, columns: (columns.get(table) ?? []).sort(), key };
  });
}

async function sameTables(source: TablesDriver, target: TablesDriver): Promise<readonly Shape[]> {
  const shapes = await shapesOf(source);
  if (JSON.stringify(shapes) === JSON.stringify(await shapesOf(target))) return shapes;
  throw new Error(`${source.place} and ${target.place} do not have the same tables`);
}

async function makeRoom(target: TablesDriver, table: string, replace: boolean): Promise<void> {
  const where = KEPT[table] === undefined ? '' : ` where ${KEPT[table]}`;
  if (replace) {
    await target.run(`delete from ${table}${where}`, []);
    return;
  }
  const { rows } = await target.run(`select 1 as found from ${table}${where} limit 1`, []);
  if (rows.length > 0) throw new TargetNotEmpty(`${target.place} is not empty: there are ${table}`);
}

async function copyTable(source: TablesDriver, target: TablesDriver, shape: Shape): Promise<CopiedTable> {
  const from = new TableSum(shape);
  for await (const rows of pages(source, shape)) {
    from.add(rows);
    await insert(target, shape, rows);
  }
  const to = new TableSum(shape);
  for await (const rows of pages(target, shape)) to.add(rows);
  const [checksum, other] = [from.digest(), to.digest()];
  const isEqual = from.rows === to.rows && checksum === other;
  return { table: shape.table, rows: from.rows, checksum, isEqual };
}

async function* pages(driver: TablesDriver, shape: Shape): AsyncIterable<readonly Row[]> {
  const { table, columns, key } = shape;
  const limit = table === 'manifests' ? manifestPageRows : pageRows;
  const kept = KEPT[table] ?? 'true';
  const list = columns.map(quoted).join(', ');
  const order = key.map(quoted).join(', ');
  const marks = key.map((_, index) => driver.placeholder(index + 1)).join(', ');
  let last: Row | undefined;
  do {
    const after = last === undefined ? 'true' : `(${order}) > (${marks})`;
    const sql = `select ${list} from ${table} where ${after} and ${kept} order by ${order} limit ${limit}`;
    const row: Row | undefined = last;
    const { rows } = await driver.run(sql, row === undefined ? [] : key.map((column) => row[column] ?? null));
    if (rows.length > 0) yield rows;
    last = rows.length < limit ? undefined : rows.at(-1);
  } while (last !== undefined);
}

async function insert(target: TablesDriver, shape: Shape, rows: readonly Row[]): Promise<void> {
  const { table, columns } = shape;
  let index = 0;
  const mark = (): string => {
    index += 1;
    return target.placeholder(index);
  };
  const tuples = rows.map(() => `(${columns.map(mark).join(', ')})`).join(', ');
  const values = rows.flatMap((row) => columns.map((column) => row[column] ?? null));
  await target.run(`insert into ${table} (${columns.map(quoted).join(', ')}) values ${tuples}`, values);
}

function quoted(column: string): string {
  return `"${column}"`;
}

/** Counts rows and hashes them, each value with its kind and its length. */
class TableSum {
  readonly #columns: readonly string[];
  readonly #hash = createHash('sha256');
  rows = 0;

  constructor({ columns }: Shape) {
    this.#columns = columns;
  }

  add(rows: readonly Row[]): void {
    for (const row of rows) {
      this.rows += 1;
      for (const column of this.#columns) this.#addValue(row[column] ?? null);
    }
  }

  digest(): string {
    return this.#hash.digest('hex');
  }

  #addValue(value: Value): void {
    if (value === null) {
      this.#hash.update('n;');
      return;
    }
    const kind = typeof value === 'number' ? 'i' : typeof value === 'string' ? 's' : 'b';
    const bytes = value instanceof Uint8Array ? value : Buffer.from(String(value));
    this.#hash.update(`${kind}${bytes.byteLength};`).update(bytes);
  }
}

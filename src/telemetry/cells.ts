import type { Metric } from 'prom-client';

/**
 * Counters and histograms with labels as plain numbers in a map. prom-client hashes a labels object on every increment;
 * here a sample costs one lookup and some additions, and prom-client only sees them when somebody scrapes.
 */

/** Label sets per metric: they come from closed sets, so this is never met; it keeps a mistake from eating the memory. */
const LABEL_SETS_MAX = 4_000;

interface Described {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** What prom-client's registry asks of a metric, and what the primary merges. */
export interface Collected extends Pick<Described, 'name' | 'help'> {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator: 'sum' | 'first';
  readonly values: readonly Value[];
}

abstract class Cells<T> {
  readonly name: string;
  readonly help: string;
  readonly #labels: readonly string[];
  readonly #cells = new Map<string, T>();

  constructor(described: Described) {
    this.name = described.name;
    this.help = described.help;
    this.#labels = described.labels;
  }

  protected cell(key: string): T {
    const known = this.#cells.get(key);
    if (known !== undefined) return known;
    const made = this.empty();
    if (this.#cells.size < LABEL_SETS_MAX) this.#cells.set(key, made);
    return made;
  }

  protected abstract empty(): T;

  protected *labelled(): Iterable<readonly [Record<string, string>, T]> {
    for (const [key, cell] of this.#cells) {
      const parts = key.split(' ');
      yield [Object.fromEntries(this.#labels.map((label, index) => [label, parts[index] ?? ''])), cell];
    }
  }
}

/** Keys are the label values with a space between them. */
export class CounterCells extends Cells<{ value: number }> {
  readonly type = 'counter';

  add(key: string, amount: number): void {
    this.cell(key).value += amount;
  }

  get(): Collected {
    const values = [...this.labelled()].map(([labels, { value }]) => ({ labels, value }));
    return { name: this.name, help: this.help, type: this.type, aggregator: 'sum', values };
  }

  protected empty(): { value: number } {
    return { value: 0 };
  }
}

interface Distribution {
  /** Per bucket, not cumulative; the last one is everything above. */
  readonly counts: number[];
  sum: number;
  count: number;
}

export class HistogramCells extends Cells<Distribution> {
  readonly type = 'histogram';
  readonly #bounds: readonly number[];

  constructor(described: Described, bounds: readonly number[]) {
    super(described);
    this.#bounds = bounds;
  }

  observe(key: string, value: number): void {
    const cell = this.cell(key);
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? 0)) bucket += 1;
    cell.counts[bucket] = (cell.counts[bucket] ?? 0) + 1;
    cell.sum += value;
    cell.count += 1;
  }

  get(): Collected {
    const values = [...this.labelled()].flatMap(([labels, cell]) => this.#values(labels, cell));
    return { name: this.name, help: this.help, type: this.type, aggregator: 'sum', values };
  }

  protected empty(): Distribution {
    return { counts: Array<number>(this.#bounds.length + 1).fill(0), sum: 0, count: 0 };
  }

  #values(labels: Record<string, string>, cell: Distribution): Value[] {
    let cumulative = 0;
    const buckets = this.#bounds.map((bound, index) => {
      cumulative += cell.counts[index] ?? 0;
      return { metricName: `${this.name}_bucket`, labels: { le: bound, ...labels }, value: cumulative };
    });
    return [
      ...buckets,
      { metricName: `${this.name}_bucket`, labels: { le: '+Inf', ...labels }, value: cell.count },
      { metricName: `${this.name}_sum`, labels, value: cell.sum },
      { metricName: `${this.name}_count`, labels, value: cell.count },
    ];
  }
}

/** prom-client takes any object with these methods; its types ask for one of its own classes. */
export function asMetric(cells: { readonly name: string; get(): Collected }): Metric {
  return cells as unknown as Metric;
}

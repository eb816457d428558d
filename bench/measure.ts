/** What a claim hands back: numbers per server, and how they stand to what was promised. */

/** Named numbers of one server in one round or, as medians, over all rounds. */
export type Numbers = Readonly<Record<string, number>>;

export interface Target {
  /** `requests/s, Drift to distribution 3`. */
  readonly what: string;
  readonly actual: number;
  readonly bound: number;
  readonly kind: 'at least' | 'at most';
}

export interface Result {
  readonly claim: string;
  readonly title: string;
  readonly numbers: Readonly<Record<string, Numbers>>;
  readonly targets: readonly Target[];
}

export interface Claim {
  readonly name: string;
  readonly title: string;
  /** Takes hours and most of a disk: it runs when it is asked for. */
  readonly onlyByName?: boolean;
  run(options: RunOptions): Promise<Omit<Result, 'claim' | 'title'>>;
}

export interface RunOptions {
  /** Rounds of each server; odd, so that a median is one of them. */
  readonly rounds: number;
  /** Seconds of one round of a claim that loads a server for a while. */
  readonly seconds: number;
  /** 1 for the sizes of the published table; less for a quick look. */
  readonly scale: number;
}

export function isMet({ actual, bound, kind }: Target): boolean {
  return kind === 'at least' ? actual >= bound : actual <= bound;
}

export function atLeast(what: string, actual: number, bound: number): Target {
  return { what, actual, bound, kind: 'at least' };
}

export function atMost(what: string, actual: number, bound: number): Target {
  return { what, actual, bound, kind: 'at most' };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** One number of one server of a result. */
export function numberOf(numbers: Readonly<Record<string, Numbers>>, server: string, name: string): number {
  return numbers[server]?.[name] ?? Number.NaN;
}

/**
 * Every server once a round, the next round in the opposite order: what the machine does meanwhile meets them all. The
 * first round, which finds every cache cold, is not counted.
 */
export async function alternate<S extends { readonly name: string }>(
  servers: readonly S[],
  rounds: number,
  once: (server: S, round: number) => Promise<Numbers>,
): Promise<Record<string, Numbers>> {
  const taken = new Map<string, Numbers[]>(servers.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
      const numbers = await once(server, round);
      if (round > 0) taken.get(server.name)?.push(numbers);
    }
  }
  return Object.fromEntries([...taken].map(([name, all]) => [name, medians(all)]));
}

function medians(all: readonly Numbers[]): Numbers {
  const names = Object.keys(all[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, median(all.map((each) => each[name] ?? Number.NaN))]));
}

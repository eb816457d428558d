import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { EXPLAINED } from './mutation/explained.ts';
import { type Mutant, mutantsOf } from './mutation/mutators.ts';
import { MUTATION_PAGE, type MutationRow, withRows } from './mutation/page.ts';
import { TARGETS, type Target } from './mutation/targets.ts';
import { Bench } from './mutation/try-mutant.ts';

interface Outcome {
  readonly file: string;
  readonly row: MutationRow;
  readonly survivors: readonly Mutant[];
}

/**
 * `npm run mutate` changes one place at a time in the files that decide about rights, tokens, ranges and manifests, and
 * runs their unit tests: what no test notices is a survivor. Fails when one of them is not explained, or an explanation
 * is of none. With names of files only those are tried; `--jobs` says how many at once.
 */
async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { jobs: { type: 'string', default: String(availableParallelism()) } },
    allowPositionals: true,
  });
  const chosen = TARGETS.filter(
    ({ file }) => positionals.length === 0 || positionals.some((name) => file.endsWith(`/${name}`)),
  );
  const jobs = Number(values.jobs);
  if (chosen.length === 0 || !Number.isInteger(jobs) || jobs < 1) {
    console.log(
      `npm run mutate -- [--jobs <count>] [${TARGETS.map(({ file }) => basename(file)).join(' ')}]`,
    );
    return 2;
  }
  let faults = 0;
  for (const target of chosen) {
    const outcome = await mutate(target, jobs);
    const problems = problemsOf(outcome);
    for (const problem of problems) console.log(problem);
    faults += problems.length;
    // Row by row: a run that is broken off has not been for nothing.
    writeFileSync(MUTATION_PAGE, withRows(readFileSync(MUTATION_PAGE, 'utf8'), [outcome.row]));
  }
  console.log(`${faults} survivors without an explanation or explanations without a survivor`);
  return faults === 0 ? 0 : 1;
}

async function mutate(target: Target, jobs: number): Promise<Outcome> {
  const started = performance.now();
  const mutants = mutantsOf(readFileSync(target.file, 'utf8'));
  const waiting = [...mutants];
  const survivors: Mutant[] = [];
  let hung = 0;
  const work = async (): Promise<void> => {
    using bench = new Bench();
    await bench.warmUp(target);
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const verdict = await bench.try(target, mutant.text);
      if (verdict === 'survives') survivors.push(mutant);
      if (verdict !== 'hung') continue;
      hung += 1;
      console.log(`hung: ${target.file}:${mutant.line}\n  - ${mutant.before}\n  + ${mutant.after}`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  survivors.sort((a, b) => a.line - b.line);
  const row = {
    file: target.file,
    mutants: mutants.length,
    killed: mutants.length - survivors.length,
    hung,
    survivors: survivors.length,
    seconds: Math.round((performance.now() - started) / 1000),
    day: new Date().toISOString().slice(0, 10),
  };
  console.log(
    `${row.file}: ${row.mutants} mutants, ${row.survivors} survive, ${row.hung} hung, ${row.seconds} s`,
  );
  return { file: target.file, row, survivors };
}

/** Survivors that nobody explained, and explanations of what does not survive (any more). */
function problemsOf({ file, survivors }: Outcome): string[] {
  const explained = EXPLAINED.filter((each) => each.file === file).flatMap(({ within, before, after }) =>
    after.map((each) => ({ within, before, after: each })),
  );
  const stale = [...explained];
  const unexplained = survivors.filter((mutant) => {
    const at = stale.findIndex(
      ({ within, before, after }) =>
        within === mutant.within && before === mutant.before && after === mutant.after,
    );
    // One explanation is of one mutant: a line that stands twice needs two.
    if (at >= 0) stale.splice(at, 1);
    return at < 0;
  });
  return [
    ...unexplained.map(
      ({ line, within, before, after }) =>
        `survives, not explained: ${file}:${line} (${within})\n  - ${before}\n  + ${after}`,
    ),
    ...stale.map(
      ({ within, before, after }) =>
        `explained, does not survive: ${file} (${within})\n  - ${before}\n  + ${after}`,
    ),
  ];
}

process.exitCode = await main();

import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { EXPLAINED, type Explained } from './mutation/explained.ts';
import { type Mutant, mutantsOf } from './mutation/mutators.ts';
import { TARGETS, type Target } from './mutation/targets.ts';
import { Bench } from './mutation/try-mutant.ts';

const PAGE = 'docs/mutation-testing.md';

interface Outcome {
  readonly file: string;
  readonly tried: number;
  readonly survivors: readonly Mutant[];
}

/**
 * `npm run mutate` changes one place at a time in the files that decide about rights, tokens, ranges and manifests, and
 * runs their unit tests: what no test notices is a survivor. Fails when one of them is not explained. With names of files
 * only those are tried, and the page is left alone.
 */
async function main(names: readonly string[]): Promise<number> {
  const chosen = TARGETS.filter(
    ({ file }) => names.length === 0 || names.some((name) => file.endsWith(name)),
  );
  const started = performance.now();
  const outcomes: Outcome[] = [];
  for (const target of chosen) outcomes.push(await mutate(target));
  const unexplained = outcomes.flatMap(({ file, survivors }) =>
    survivors.filter((mutant) => explanationOf(file, mutant) === null).map((mutant) => ({ file, mutant })),
  );
  for (const { file, mutant } of unexplained) {
    console.log(`survives, not explained: ${file}:${mutant.line}\n  - ${mutant.before}\n  + ${mutant.after}`);
  }
  const seconds = Math.round((performance.now() - started) / 1000);
  if (names.length === 0) writeFileSync(PAGE, page(outcomes, seconds));
  console.log(`${unexplained.length} survivors without an explanation, ${seconds} s`);
  return unexplained.length === 0 ? 0 : 1;
}

async function mutate({ file, tests }: Target): Promise<Outcome> {
  const source = readFileSync(file, 'utf8');
  const mutants = mutantsOf(source);
  const waiting = [...mutants];
  const survivors: Mutant[] = [];
  const work = async (): Promise<void> => {
    using bench = new Bench();
    if (!(await bench.survives(file, source, tests))) throw new Error(`${file}: its tests fail as it is`);
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      if (await bench.survives(file, mutant.text, tests)) survivors.push(mutant);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  survivors.sort((a, b) => a.line - b.line);
  console.log(`${file}: ${mutants.length} mutants, ${survivors.length} survive`);
  return { file, tried: mutants.length, survivors };
}

function explanationOf(file: string, { before, after }: Mutant): Explained | null {
  return (
    EXPLAINED.find((each) => each.file === file && each.before === before && each.after === after) ?? null
  );
}

function page(outcomes: readonly Outcome[], seconds: number): string {
  const rows = outcomes.map(
    ({ file, tried, survivors }) =>
      `| \`${file}\` | ${tried} | ${tried - survivors.length} | ${survivors.length} |`,
  );
  const survivors = outcomes.flatMap(({ file, survivors: alive }) =>
    alive.map((mutant) => ({ file, mutant })),
  );
  const entries = survivors.map(({ file, mutant }) => {
    const why = explanationOf(file, mutant)?.why ?? '**Not explained: a test is missing.**';
    return `### \`${file}\`, line ${mutant.line}\n\n\`\`\`diff\n- ${mutant.before}\n+ ${mutant.after}\n\`\`\`\n\n${why}\n`;
  });
  return `# Mutation testing

Written by \`npm run mutate\` on ${new Date().toISOString().slice(0, 10)} (Node ${process.versions.node}, ${seconds} s); not part of \`npm test\`.
It changes one place at a time in the files that decide about rights, tokens, ranges and manifests (comparisons turned
and shifted, conditions negated, \`&&\` and \`||\` exchanged, numbers off by one, \`throw\` taken away) and runs their unit
tests. A mutant that no test notices survives; each one is listed below with the reason why it is no hole. The command
fails when a survivor has no reason in \`scripts/mutation/explained.ts\`.

| file | mutants | killed | survive |
|---|---|---|---|
${rows.join('\n')}

## Survivors

${entries.length === 0 ? 'None.\n' : entries.join('\n')}`;
}

process.exitCode = await main(process.argv.slice(2));

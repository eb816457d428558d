import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { EXPLAINED } from '../../scripts/mutation/explained.ts';
import { mutantsOf } from '../../scripts/mutation/mutators.ts';
import { TARGETS } from '../../scripts/mutation/targets.ts';

describe('mutation', () => {
  it('a survivor that is explained, by its line, is a mutant of its file as it is now', () => {
    const mutants = new Map(TARGETS.map(({ file }) => [file, mutantsOf(readFileSync(file, 'utf8'))]));
    const gone = EXPLAINED.flatMap(({ file, within, before, after }) =>
      after
        .filter(
          (line) =>
            !mutants
              .get(file)
              ?.some((each) => each.within === within && each.before === before && each.after === line),
        )
        .map((line) => `${file} (${within}): ${line}`),
    );
    assert.deepEqual(gone, [], 'run npm run mutate');
  });

  it('a target, by its tests, names files that exist', () => {
    const missing = TARGETS.flatMap(({ file, tests }) => [file, ...tests]).filter(
      (file) => !existsSync(file),
    );
    assert.deepEqual(missing, []);
  });

  it('mutantsOf, a line of each kind, changes it and leaves comments, sentences and types alone', () => {
    const source = [
      "import { a } from './a.ts';",
      '/** Whether a === b. */',
      'const A = /^a+$/u;',
      "export function f(x: string, kind: 'one' | 'two'): boolean {",
      "  if (x === 'word') throw new Error('a sentence of words');",
      '  g(x);',
      '  return A.test(x) && kind.length > 2;',
      '}',
      '',
    ].join('\n');
    assert.deepEqual(
      mutantsOf(source)
        .map(({ line, within, after }) => `${line} ${within}: ${after}`)
        .sort(),
      [
        '3 A: const A = /^a*$/u;',
        '3 A: const A = /^a+$/;',
        '3 A: const A = /^a+/u;',
        '3 A: const A = /a+$/u;',
        "5 f: if (x !== 'word') throw new Error('a sentence of words');",
        "5 f: if (x === '') throw new Error('a sentence of words');",
        "5 f: if (x === 'word') void new Error('a sentence of words');",
        '6 f: ;',
        '7 f: return A.test(x) && kind.length < 2;',
        '7 f: return A.test(x) && kind.length > 1;',
        '7 f: return A.test(x) && kind.length > 3;',
        '7 f: return A.test(x) && kind.length >= 2;',
        '7 f: return A.test(x) || kind.length > 2;',
      ],
    );
  });
});

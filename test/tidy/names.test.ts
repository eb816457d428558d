import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { filesOf, SUITES } from '../../scripts/test-suites.ts';

const sources = globSync('{src,bin,test,scripts,bench}/**/*.ts').sort();

describe('names', () => {
  it('a file, by its name, is no grab bag', () => {
    const bags = /^(utils?|helpers?|common|misc|core|shared|lib|index|types)\.ts$/;
    const allowed = new Set(['src/meta/migrations/index.ts']);
    assert.deepEqual(
      sources.filter((file) => bags.test(basename(file)) && !allowed.has(file)),
      [],
    );
  });

  it('a source file, in its comments, carries no mark of unfinished work', () => {
    const marks = /\b(TODO|FIXME|XXX|HACK)\b/;
    const marked = sources.filter(
      (file) => /^(src|bin)\//.test(file) && marks.test(readFileSync(file, 'utf8')),
    );
    assert.deepEqual(marked, []);
  });

  it('a test file, by its place, belongs to exactly one suite', () => {
    const owners = new Map<string, string[]>();
    for (const suite of SUITES.filter(({ again }) => again === undefined)) {
      for (const file of filesOf(suite)) {
        owners.set(file, [...(owners.get(file) ?? []), suite.name]);
      }
    }
    const tests = sources.filter((file) => file.endsWith('.test.ts'));
    assert.deepEqual(
      tests.filter((file) => owners.get(file)?.length !== 1),
      [],
    );
  });

  it('what a suite leaves out, by its name, is there to be left out', () => {
    for (const suite of SUITES) {
      const texts = filesOf(suite).map((file) => readFileSync(file, 'utf8'));
      for (const name of Object.keys(suite.leftOut ?? {})) {
        const isThere = name.endsWith('.ts')
          ? sources.includes(name)
          : texts.some((text) => text.includes(name));
        assert.ok(isThere, `${suite.name} leaves out "${name}", which is not there`);
      }
    }
  });

  it('a test, in any suite, is neither skipped nor narrowed', () => {
    const narrowed = /\b(test|it|describe)\.(skip|only|todo)\b|\{ *(skip|only|todo): *true/;
    const own = 'test/tidy/names.test.ts';
    assert.deepEqual(
      sources.filter((file) => file !== own && narrowed.test(readFileSync(file, 'utf8'))),
      [],
    );
  });
});

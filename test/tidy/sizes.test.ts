import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';

const FILE_LINES_MAX = 500;
const FILE_LINES_P90_MAX = 300;

describe('sizes', () => {
  const sizes = globSync('{src,bin,scripts,test,bench}/**/*.ts').map((file) => ({
    file,
    lines: readFileSync(file, 'utf8').split('\n').length - 1,
  }));

  it('a file is no longer than it can be read in one go', () => {
    assert.deepEqual(
      sizes.filter(({ lines }) => lines > FILE_LINES_MAX),
      [],
    );
  });

  it('nine source files of ten stay under the usual size', () => {
    const sorted = sizes
      .filter(({ file }) => file.startsWith('src/'))
      .map(({ lines }) => lines)
      .sort((a, b) => a - b);
    const p90 = sorted[Math.floor(sorted.length * 0.9)] ?? 0;
    assert.ok(p90 <= FILE_LINES_P90_MAX, `the 90th percentile is ${p90} lines`);
  });
});

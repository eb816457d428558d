import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { renderConfigurationPage } from './docs-page.ts';
import type { Key } from './key.ts';
import { KEYS } from './keys.ts';

describe('docs/configuration.md', () => {
  it('the page, compared with the table of keys, is up to date', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8');
    assert.equal(page, renderConfigurationPage(), 'run npm run docs');
  });

  it('every key and environment name, on the page, is named', () => {
    const page = renderConfigurationPage();
    for (const { path, env, aliases } of Object.values(KEYS) as Key<unknown>[]) {
      for (const name of [path, ...env, ...aliases]) assert.ok(page.includes(name), name);
    }
  });
});

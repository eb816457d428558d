import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderConfigurationPage } from '../src/config/docs-page.ts';
import { MUTATION_PAGE, withSurvivors } from './mutation/page.ts';

/**
 * Writes the pages that follow from tables in the code, as a whole or from a heading on; `--check` writes nothing and fails
 * when one is stale.
 */
const PAGES: readonly { readonly file: string; readonly render: (page: string) => string }[] = [
  { file: 'docs/configuration.md', render: renderConfigurationPage },
  { file: MUTATION_PAGE, render: withSurvivors },
];

const root = join(import.meta.dirname, '..');
const isCheck = process.argv.includes('--check');
for (const { file, render } of PAGES) {
  const path = join(root, file);
  const before = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const page = render(before);
  if (before === page) continue;
  if (isCheck) {
    console.error(`${file} is stale: run npm run docs`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, page);
    console.log(`wrote ${file}`);
  }
}

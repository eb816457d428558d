import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderConfigurationPage } from '../src/config/docs-page.ts';

/** Writes the pages that follow from tables in the code; `--check` writes nothing and fails when one is stale. */
const PAGES: readonly { readonly file: string; readonly render: () => string }[] = [
  { file: 'docs/configuration.md', render: renderConfigurationPage },
];

const root = join(import.meta.dirname, '..');
const isCheck = process.argv.includes('--check');
for (const { file, render } of PAGES) {
  const path = join(root, file);
  const page = render();
  if (existsSync(path) && readFileSync(path, 'utf8') === page) continue;
  if (isCheck) {
    console.error(`${file} is stale: run npm run docs`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, page);
    console.log(`wrote ${file}`);
  }
}

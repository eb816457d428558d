#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Plain JavaScript on purpose: what is read before the cache is on pays, at each start, for the compiler that strips types.
// docs/performance.md has the figures.

/**
 * Where compiled code is kept, for this process and those that it starts. Inside the installation: whoever can write there
 * can change the program anyway, while code in a directory for everybody could be anybody's. Where it cannot be written,
 * starts are as slow as the first one.
 */
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../node_modules/.cache/drift', import.meta.url));
enableCompileCache(process.env.NODE_COMPILE_CACHE);

const { runCommandLine } = await import('../src/ctl/command-line.ts');
process.exitCode = await runCommandLine({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
});

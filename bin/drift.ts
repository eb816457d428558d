#!/usr/bin/env node
import { keepCompiledCode } from '../src/process/compile-cache.ts';

keepCompiledCode();
const { runCommandLine } = await import('../src/ctl/command-line.ts');
process.exitCode = await runCommandLine({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
});

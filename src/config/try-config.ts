import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { ConfigError, type Problem } from './config-error.ts';
import { type ConfigInput, type ResolvedConfig, readConfig } from './read.ts';

const made: string[] = [];
after(() => {
  for (const directory of made) rmSync(directory, { recursive: true });
});

/** A configuration in a directory of its own; for tests. */
export interface Setup {
  readonly toml?: string;
  readonly env?: Record<string, string>;
  readonly flags?: ConfigInput['flags'];
  readonly files?: Record<string, string>;
}

export function read({ toml, env = {}, flags = {}, files = {} }: Setup): ResolvedConfig & { cwd: string } {
  const cwd = mkdtempSync(join(tmpdir(), 'drift-config-'));
  made.push(cwd);
  if (toml !== undefined) writeFileSync(join(cwd, 'drift.toml'), toml);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content);
  return { ...readConfig({ flags, env, cwd }), cwd };
}

export function problems(setup: Setup): readonly Problem[] {
  try {
    read(setup);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** `NAME=value` is the environment, anything else a drift.toml. */
export function setting(text: string): Setup {
  const env = /^([A-Z0-9_]+)=(.*)$/s.exec(text);
  return env ? { env: { [env[1] ?? '']: env[2] ?? '' } } : { toml: text };
}

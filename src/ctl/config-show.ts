import { ConfigError, formatProblems } from '../config/config-error.ts';
import { describeConfig } from '../config/describe-config.ts';
import { readConfig } from '../config/read.ts';
import { EXIT } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';

/** `drift config show`: what is in force and where it came from, secrets masked. Returns the exit code. */
export function runConfigShow(args: ConfigCommandArgs): number {
  try {
    const resolved = readConfig(args);
    for (const warning of resolved.warnings) args.stderr.write(`warning: ${warning}\n`);
    args.stdout.write(`${describeConfig(resolved).join('\n')}\n`);
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    args.stderr.write(formatProblems(error));
    return EXIT.CONFIG;
  }
}

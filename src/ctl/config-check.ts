import { ConfigError, formatProblems } from '../config/config-error.ts';
import { type ConfigInput, readConfig } from '../config/read.ts';
import { EXIT } from '../std/exit-codes.ts';

export interface ConfigCommandArgs extends ConfigInput {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** `drift config check`: every problem and warning, without starting. Returns the exit code. */
export function runConfigCheck(args: ConfigCommandArgs): number {
  try {
    const { file, warnings } = readConfig(args);
    for (const warning of warnings) args.stderr.write(`warning: ${warning}\n`);
    args.stdout.write(`The configuration is valid (${file ?? 'no file, environment and defaults only'}).\n`);
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    args.stderr.write(formatProblems(error));
    return EXIT.CONFIG;
  }
}

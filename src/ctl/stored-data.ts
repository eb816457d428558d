import type { Config } from '../config/config.ts';
import { ConfigError, formatProblems } from '../config/config-error.ts';
import { readConfig } from '../config/read.ts';
import { startupFailure } from '../process/startup-errors.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';

/** Runs a command that works on the data on this machine; what cannot work is one sentence and an exit code. */
export async function onStoredData(
  args: ConfigCommandArgs,
  work: (config: Config) => Promise<ExitCode>,
): Promise<ExitCode> {
  try {
    const { config } = readConfig(args);
    if (config.storage.backend === 'memory') {
      args.stderr.write('drift: storage.backend is "memory": there is nothing on this machine to look at.\n');
      return EXIT.FAILED;
    }
    return await work(config);
  } catch (error) {
    if (error instanceof ConfigError) {
      args.stderr.write(formatProblems(error));
      return EXIT.CONFIG;
    }
    const failure = startupFailure(error);
    if (failure === null) throw error;
    args.stderr.write(`drift: ${failure.sentence}\n`);
    return failure.exitCode;
  }
}

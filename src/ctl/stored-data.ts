import type { Config } from '../config/config.ts';
import { ConfigError, formatProblems } from '../config/config-error.ts';
import { readConfig } from '../config/read.ts';
import { startupFailure } from '../process/startup-errors.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';

/** Runs a command that works on ledger and content; what cannot work is one sentence and an exit code. */
export function onStoredData(
  args: ConfigCommandArgs,
  work: (config: Config) => Promise<ExitCode>,
): Promise<ExitCode> {
  return run(args, work, ({ storage }) => storage.backend === 'memory');
}

/** Likewise of one that works on the ledger alone. */
export function onLedger(
  args: ConfigCommandArgs,
  work: (config: Config) => Promise<ExitCode>,
): Promise<ExitCode> {
  const isInMemory = ({ storage, database }: Config): boolean =>
    storage.backend === 'memory' && database.backend === 'sqlite';
  return run(args, work, isInMemory);
}

async function run(
  args: ConfigCommandArgs,
  work: (config: Config) => Promise<ExitCode>,
  isInMemory: (config: Config) => boolean,
): Promise<ExitCode> {
  try {
    const { config } = readConfig(args);
    if (isInMemory(config)) {
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

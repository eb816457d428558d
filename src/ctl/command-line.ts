import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { parseDuration } from '../std/duration.ts';
import { EXIT } from '../std/exit-codes.ts';
import { readVersion } from '../std/version.ts';
import type { ConfigCommandArgs } from './config-check.ts';

export interface Surroundings extends Omit<ConfigCommandArgs, 'flags'> {
  readonly argv: readonly string[];
}

interface Flags {
  readonly config?: string;
  readonly bind?: string;
  readonly uiBind?: string;
}

/** Runs one command line; resolves with the exit code. Each command loads its own code only: starting has to be quick. */
export async function runCommandLine(surroundings: Surroundings): Promise<number> {
  let exitCode: number = EXIT.OK;
  const program = buildProgram(surroundings, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...surroundings.argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
  }
}

function buildProgram(surroundings: Surroundings, finish: (code: number) => void): Command {
  const { env, cwd, stdout, stderr } = surroundings;
  const program = new Command('drift')
    .description('A self-hosted OCI registry')
    .version(readVersion(), '--version')
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) });
  const command = (name: string, description: string): Command =>
    program
      .command(name)
      .description(description)
      .exitOverride()
      .option('-c, --config <file>', 'the configuration file (default: ./drift.toml where there is one)');
  const args = ({ config, bind, uiBind }: Flags): ConfigCommandArgs => {
    const flags = {
      ...(config === undefined ? {} : { config }),
      ...(bind === undefined ? {} : { bind }),
      ...(uiBind === undefined ? {} : { uiBind }),
    };
    return { flags, env, cwd, stdout, stderr };
  };
  command('serve', 'serve the registry until a signal ends it')
    .option('-b, --bind <address>', 'where the registry listens')
    .option('-u, --ui-bind <address>', 'where the console listens')
    .action(async (flags: Flags) => {
      const { serve } = await import('../process/primary.ts');
      finish(await serve(args(flags)));
    });
  command('backup', 'copy the ledger, also while serving')
    .argument('<file>', 'the copy; must not exist')
    .action(async (file: string, flags: Flags) => {
      const { runBackup } = await import('./backup.ts');
      finish(await runBackup(args(flags), file));
    });
  command('fsck', 'compare ledger and content, both ways; changes nothing')
    .option('--rehash', 'read every byte of every blob again', false)
    .action(async (flags: Flags & { rehash: boolean }) => {
      const { runFsck } = await import('./fsck.ts');
      finish(await runFsck(args(flags), flags));
    });
  command('health', 'ask the registry on this machine whether it answers').action(async (flags: Flags) => {
    const { runHealth } = await import('./health.ts');
    finish(await runHealth(args(flags)));
  });
  program
    .command('version')
    .description('print the version')
    .action(() => {
      stdout.write(`drift ${readVersion()} (node ${process.versions.node})\n`);
    });
  addStorageCommands(program, args, finish);
  addDatabaseCommands(program, args, finish);
  addConfigCommands(program, args, finish);
  addNodeCommands(program, args, finish);
  return program;
}

function addDatabaseCommands(
  program: Command,
  args: (flags: Flags) => ConfigCommandArgs,
  finish: (code: number) => void,
): void {
  const db = program.command('db').description('look after the database').exitOverride();
  const command = (name: string, description: string): Command =>
    db
      .command(name)
      .description(description)
      .exitOverride()
      .option('-c, --config <file>', 'the configuration file');
  command('status', 'which schema it has, and whether this program can work with it').action(
    async (flags: Flags) => {
      const { runDbStatus } = await import('./db-status.ts');
      finish(await runDbStatus(args(flags)));
    },
  );
  command('migrate', 'bring its schema to this version').action(async (flags: Flags) => {
    const { runDbMigrate } = await import('./db-migrate.ts');
    finish(await runDbMigrate(args(flags)));
  });
  db.command('copy')
    .description('copy everything into another database and compare; both must be out of use')
    .exitOverride()
    .requiredOption('--from <address>', 'sqlite:/path/to/drift.db or postgres://user:password@host/drift')
    .requiredOption('--to <address>', 'likewise; must be empty')
    .option('--force', 'replace what is there', false)
    .option('--partitions <number>', 'parts of each large table, when PostgreSQL is empty', parseCount, 16)
    .action(async (flags: { from: string; to: string; force: boolean; partitions: number }) => {
      const { runDbCopy } = await import('./db-copy.ts');
      finish(await runDbCopy(args({}), flags));
    });
}

function addStorageCommands(
  program: Command,
  args: (flags: Flags) => ConfigCommandArgs,
  finish: (code: number) => void,
): void {
  const storage = program.command('storage').description('look after the store of blobs').exitOverride();
  storage
    .command('migrate')
    .description('move blobs from storage.migrate_from to storage.backend, while the registry serves')
    .exitOverride()
    .requiredOption('--to <backend>', 'storage.backend, where they go')
    .option('--parallel <number>', 'blobs at a time', parseParallel, 4)
    .option('--grace <time>', 'how long old bytes stay for those who read them', parseGrace, 15 * 60)
    .option('-c, --config <file>', 'the configuration file')
    .action(async (flags: Flags & { to: string; parallel: number; grace: number }) => {
      const { runStorageMigrate } = await import('./storage-migrate.ts');
      finish(await runStorageMigrate(args(flags), flags));
    });
}

function parseParallel(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 64) return count;
  throw new InvalidArgumentError('It must be a whole number from 1 to 64.');
}

function parseGrace(text: string): number {
  const seconds = parseDuration(text);
  if (seconds !== null && seconds <= 7 * 24 * 60 * 60) return seconds;
  throw new InvalidArgumentError('It must be a time such as "15m" or "1h", 7d at most.');
}

/** As `database.partitions` takes it. */
function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 1_024) return count;
  throw new InvalidArgumentError('It must be a whole number from 1 to 1024.');
}

function addNodeCommands(
  program: Command,
  args: (flags: Flags) => ConfigCommandArgs,
  finish: (code: number) => void,
): void {
  const node = program.command('node').description('look at the nodes that share a ledger').exitOverride();
  node
    .command('list')
    .description('every node, how it is and how its clock goes')
    .exitOverride()
    .option('-c, --config <file>', 'the configuration file')
    .option('--json', 'for programs', false)
    .action(async (flags: Flags & { json: boolean }) => {
      const { runNodeList } = await import('./node-list.ts');
      finish(await runNodeList(args(flags), flags));
    });
  node
    .command('drain')
    .description('have load balancers take a node out: not ready, takes no job, serves what still comes')
    .argument('<node>', 'its name or id')
    .exitOverride()
    .option('-c, --config <file>', 'the configuration file')
    .option('--undo', 'ready again', false)
    .action(async (name: string, flags: Flags & { undo: boolean }) => {
      const { runNodeDrain } = await import('./node-drain.ts');
      finish(await runNodeDrain(args(flags), name, flags));
    });
}

function addConfigCommands(
  program: Command,
  args: (flags: Flags) => ConfigCommandArgs,
  finish: (code: number) => void,
): void {
  const config = program.command('config').description('look at the configuration').exitOverride();
  const command = (name: string, description: string): Command =>
    config
      .command(name)
      .description(description)
      .exitOverride()
      .option('-c, --config <file>', 'the configuration file');
  command('check', 'say what is wrong, without starting').action(async (flags: Flags) => {
    const { runConfigCheck } = await import('./config-check.ts');
    finish(runConfigCheck(args(flags)));
  });
  command('show', 'every value and where it came from, secrets masked').action(async (flags: Flags) => {
    const { runConfigShow } = await import('./config-show.ts');
    finish(runConfigShow(args(flags)));
  });
}

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { isAnyone, readConfiguredPeople } from '../access/configured-people.ts';
import { ensureFirstAdmin } from '../access/first-admin.ts';
import type { Config } from '../config/config.ts';
import { ConfigError, formatProblems } from '../config/config-error.ts';
import { type ConfigInput, type ResolvedConfig, readConfig } from '../config/read.ts';
import { type LedgerClock, openLedgerClock } from '../meta/ledger-clock.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import { readVersion } from '../std/version.ts';
import { createTelemetry, type ProcessTelemetry } from '../telemetry/create-telemetry.ts';
import { Family } from './family.ts';
import { firstAdminBox } from './first-admin-box.ts';
import { giveBackMemoryOnceSettled } from './give-back-memory.ts';
import type { Addresses } from './ipc.ts';
import { NodeReporter } from './node-reporter.ts';
import { pinPorts } from './pin-ports.ts';
import { type PreparedData, prepareData } from './prepare-data.ts';
import { Reloading } from './reloading.ts';
import { StartupError, startupFailure } from './startup-errors.ts';

export interface ServeInput extends ConfigInput {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

const RUN_ID_BYTES = 9;
/** npm and `timeout` pass on a signal that the terminal or they themselves sent to the whole group: one wish, two signals. */
const ECHO_MILLISECONDS_MAX = 1_000;

/** `drift serve`: the primary process. Resolves with the exit code when everything has ended. */
export async function serve(input: ServeInput): Promise<ExitCode> {
  let resolved: ResolvedConfig;
  try {
    resolved = readConfig(input);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    input.stderr.write(formatProblems(error));
    return EXIT.CONFIG;
  }
  const telemetry = createTelemetry({
    role: 'primary',
    node: resolved.config.server.nodeName,
    version: readVersion(),
    ...resolved.config.logging,
  });
  try {
    return await runPrimary(input, resolved, telemetry);
  } catch (error) {
    const failure = startupFailure(error);
    if (failure === null) throw error;
    input.stderr.write(`drift: ${failure.sentence}\n`);
    return failure.exitCode;
  } finally {
    telemetry.flush();
  }
}

async function runPrimary(
  input: ServeInput,
  resolved: ResolvedConfig,
  telemetry: ProcessTelemetry,
): Promise<ExitCode> {
  const log = telemetry.logger('process');
  for (const warning of resolved.warnings) log.warn(warning);
  const people = peopleAtStart(resolved.config);
  const data = await prepareData(resolved.config, telemetry.metrics);
  let clock: LedgerClock | null = null;
  try {
    for (const warning of data.warnings) log.warn(warning);
    clock = await openLedgerClock(data.meta);
    const admin = await ensureFirstAdmin({ meta: data.meta, clock, configured: isAnyone(people) });
    if (admin !== null) input.stdout.write(firstAdminBox(admin));
    const config = await pinPorts(data.config);
    const id = randomBytes(RUN_ID_BYTES).toString('base64url');
    const node = new NodeReporter({ meta: data.meta, clock, log, id, name: config.server.nodeName });
    const primary = new Primary({ input, resolved, telemetry, config, people, runId: id, node });
    const code = await primary.run();
    await node.stop();
    await finish(data);
    return code;
  } finally {
    clock?.close();
    await data.close();
  }
}

/** Where others find what listens on every address of this machine. */
function reachable({ registry, console }: Addresses): readonly string[] {
  return [registry, console].map((url) => url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, `//${hostname()}`));
}

/** The next start finds nothing left to recover. */
async function finish({ meta }: PreparedData): Promise<void> {
  await meta.checkpoint?.('truncate');
}

function peopleAtStart(config: Config) {
  try {
    return readConfiguredPeople(config);
  } catch (error) {
    throw new StartupError(
      { sentence: `The users cannot be read: ${String(error)}`, exitCode: EXIT.CONFIG },
      error,
    );
  }
}

interface PrimaryOptions {
  readonly input: ServeInput;
  readonly resolved: ResolvedConfig;
  readonly telemetry: ProcessTelemetry;
  readonly config: Config;
  readonly people: ReturnType<typeof readConfiguredPeople>;
  readonly runId: string;
  readonly node: NodeReporter;
}

/** From the first fork to the last exit. */
class Primary {
  readonly #options: PrimaryOptions;
  readonly #reloading: Reloading;
  readonly #family: Family;
  readonly #ended = Promise.withResolvers<ExitCode>();
  #stopping = false;
  #stoppingSince = Number.NEGATIVE_INFINITY;

  constructor(options: PrimaryOptions) {
    const { telemetry, config, people, resolved, input, runId } = options;
    const log = telemetry.logger('process');
    this.#options = options;
    this.#reloading = new Reloading({
      input,
      log,
      initial: resolved,
      people,
      apply: (next) => {
        telemetry.setFilter(next.filter);
        return this.#family.reload(next);
      },
    });
    this.#family = new Family({
      workers: config.storage.backend === 'memory' ? 1 : config.server.workers,
      jobsProcess: config.storage.backend !== 'memory',
      log,
      metrics: telemetry.metrics,
      order: () => {
        const { people: now, filter } = this.#reloading.current;
        return { config: { ...config, logging: { ...config.logging, filter } }, people: now, runId };
      },
      onFailure: ({ sentence, exitCode }) => void this.#giveUp(sentence, exitCode),
      onCrashLoop: (sentence) => void this.#giveUp(sentence, EXIT.CRASH_LOOP),
    });
  }

  async run(): Promise<ExitCode> {
    const handlers = {
      SIGTERM: () => this.#onStopSignal('SIGTERM'),
      SIGINT: () => this.#onStopSignal('SIGINT'),
      SIGHUP: () => void this.#reloading.reload(),
    };
    for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
    try {
      void this.#family.start().then((addresses) => {
        this.#options.telemetry.logger('process').info(addresses, 'listening');
        void this.#options.node.start(reachable(addresses), ({ message }) =>
          this.#giveUp(message, EXIT.LEDGER_TOO_NEW),
        );
        giveBackMemoryOnceSettled();
      });
      return await this.#ended.promise;
    } finally {
      this.#reloading.close();
      for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
    }
  }

  #onStopSignal(signal: string): void {
    const log = this.#options.telemetry.logger('process');
    if (this.#stopping) {
      if (performance.now() - this.#stoppingSince < ECHO_MILLISECONDS_MAX) return;
      log.warn({ signal }, 'second signal: running requests are cut off');
      this.#family.kill();
      this.#ended.resolve(EXIT.INTERRUPTED);
      return;
    }
    this.#stopping = true;
    this.#stoppingSince = performance.now();
    const { drainSecondsMax } = this.#options.config.server;
    log.info({ signal, drainSecondsMax }, 'stopping: running requests get this long');
    void this.#family.stop(drainSecondsMax * 1000).then(() => {
      log.info('stopped');
      this.#ended.resolve(EXIT.OK);
    });
  }

  async #giveUp(sentence: string, exitCode: ExitCode): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#options.input.stderr.write(`drift: ${sentence}\n`);
    await this.#family.stop(0);
    this.#ended.resolve(exitCode);
  }
}

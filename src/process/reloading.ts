import { unwatchFile, watchFile } from 'node:fs';
import { readConfiguredPeople } from '../access/configured-people.ts';
import type { ConfiguredPeople } from '../access/user-directory.ts';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/config-error.ts';
import { type ConfigInput, type ResolvedConfig, readConfig } from '../config/read.ts';
import type { Logger } from '../telemetry/telemetry.ts';
import type { Reloadable } from './ipc.ts';

const HTPASSWD_POLL_MILLISECONDS = 2_000;

export interface ReloadingOptions {
  readonly input: ConfigInput;
  readonly log: Logger;
  readonly initial: ResolvedConfig;
  readonly people: ConfiguredPeople;
  /** Hands the new things to every process; problems come back, one sentence each. */
  readonly apply: (next: Reloadable) => Promise<readonly string[]>;
}

/** Reads the configuration again on demand and hands on what may change while the program runs. */
export class Reloading {
  readonly #options: ReloadingOptions;
  #last: ResolvedConfig;
  #people: ConfiguredPeople;
  #queue: Promise<void> = Promise.resolve();
  #watched: string | null = null;

  constructor(options: ReloadingOptions) {
    this.#options = options;
    this.#last = options.initial;
    this.#people = options.people;
    this.#watchHtpasswd(options.initial.config);
  }

  /** What a process that starts now has to begin with. */
  get current(): Reloadable {
    return { people: this.#people, filter: this.#last.config.logging.filter };
  }

  /** One at a time; never rejects. */
  reload(): Promise<void> {
    this.#queue = this.#queue.then(() => this.#reload());
    return this.#queue;
  }

  close(): void {
    if (this.#watched !== null) unwatchFile(this.#watched);
    this.#watched = null;
  }

  async #reload(): Promise<void> {
    const { log } = this.#options;
    try {
      const next = readConfig(this.#options.input);
      const people = readConfiguredPeople(next.config);
      const ignored = differences(this.#last, next);
      for (const warning of next.warnings) log.warn(warning);
      const problems = await this.#options.apply({ people, filter: next.config.logging.filter });
      if (problems.length > 0) {
        log.error({ problems }, 'not everything could be reloaded; what could not be stays as it was');
      }
      this.#people = people;
      // What was ignored stays as it was at the start, so that it is named again next time.
      this.#last = { ...this.#last, config: { ...this.#last.config, logging: next.config.logging } };
      this.#watchHtpasswd(next.config);
      if (ignored.length > 0) log.warn({ keys: ignored }, 'these keys changed, too, but need a restart');
      if (problems.length === 0) log.info('reloaded');
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : [{ message: String(error) }];
      log.error({ problems }, 'the new configuration cannot be used; the old one stays');
    }
  }

  #watchHtpasswd({ auth }: Config): void {
    if (this.#watched === auth.htpasswdFile) return;
    this.close();
    this.#watched = auth.htpasswdFile;
    if (this.#watched === null) return;
    const options = { interval: HTPASSWD_POLL_MILLISECONDS, persistent: false };
    watchFile(this.#watched, options, () => void this.reload());
  }
}

/** Keys that have another value now and that no reload takes. */
function differences(before: ResolvedConfig, after: ResolvedConfig): string[] {
  const shown = new Map(before.sources.map(({ key, shown: value }) => [key, value]));
  return after.sources
    .filter(
      ({ key, shown: value, reloads }) => value !== shown.get(key) && (!reloads || key.startsWith('tls.')),
    )
    .map(({ key }) => key);
}

/** How long a request may take, each in seconds without any progress. */
export interface Patience {
  /** When the service does not answer others either. */
  readonly secondsMax: number;
  /** While it does. Not less than `secondsMax`. */
  readonly answeredSecondsMax: number;
}

export interface Deadline {
  /** Some of the request's bytes have gone, or some of its answer has come: it has all of its time again. */
  readonly onProgress: () => void;
  end(): void;
}

/**
 * When requests are given up. Many bodies at once share the line: each is slow, and none is stuck. Nobody here sees how much
 * of one the kernel has taken and the service has not, so when nothing is heard the service is asked whether it is there.
 */
export class Deadlines {
  /** Whether the service answers, found out in bounded time. */
  readonly #ask: () => Promise<boolean>;
  #asking: Promise<boolean> | null = null;

  constructor(ask: () => Promise<boolean>) {
    this.#ask = ask;
  }

  /** `onPassed` is told how many seconds it was waited for. */
  begin({ secondsMax, answeredSecondsMax }: Patience, onPassed: (seconds: number) => void): Deadline {
    let since = performance.now();
    let hasEnded = false;
    let timer: NodeJS.Timeout | undefined;
    const silentSeconds = (): number => (performance.now() - since) / 1000;
    const look = async (): Promise<void> => {
      const left = secondsMax - silentSeconds();
      if (left > 0) return wait(left);
      const isSpared = silentSeconds() < answeredSecondsMax && (await this.#answers());
      if (hasEnded) return;
      if (isSpared) wait(Math.min(secondsMax, Math.max(0, answeredSecondsMax - silentSeconds())));
      else onPassed(Math.round(silentSeconds()));
    };
    const wait = (seconds: number): void => {
      timer = setTimeout(() => void look(), seconds * 1000);
    };
    wait(secondsMax);
    return {
      onProgress: () => {
        since = performance.now();
      },
      end: () => {
        hasEnded = true;
        clearTimeout(timer);
      },
    };
  }

  /** Once for all who wonder at the same time. */
  #answers(): Promise<boolean> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }
}

/** Crashes of children within the window that are still taken for bad luck. */
const CRASHES_MAX = 10;
const WINDOW_SECONDS = 60;

/** Tells bad luck from a program that cannot run. */
export class CrashBudget {
  readonly #crashes: number[] = [];

  /** False when there were too many. */
  spend(at: number): boolean {
    this.#crashes.push(at);
    while ((this.#crashes[0] ?? at) < at - WINDOW_SECONDS * 1000) this.#crashes.shift();
    return this.#crashes.length <= CRASHES_MAX;
  }

  get sentence(): string {
    return `Workers crashed more than ${CRASHES_MAX} times within ${WINDOW_SECONDS} s: Drift stops. The log above says why they crash.`;
  }
}

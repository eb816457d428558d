/** Wall-clock milliseconds since the epoch; handed in so that tests can move it. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

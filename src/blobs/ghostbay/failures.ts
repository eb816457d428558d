import { Unavailable } from '../../std/unavailable.ts';

const PART = 'blob store';

/** Somebody has to see to it. */
export function unavailable(message: string, cause?: unknown): Unavailable {
  return new Unavailable(PART, message, { retryable: false, cause });
}

/** It may pass by itself. */
export function unavailableNow(message: string, cause?: unknown): Unavailable {
  return new Unavailable(PART, message, { retryable: true, cause });
}

/**
 * The one error that contracts (blob store, meta store, upstream) throw: the thing behind them could not do its work
 * right now. Absence is `null`, never an error. Doors answer 503 (507 for `full`).
 */
export class Unavailable extends Error {
  /** The part that failed, for a person: `blob store`, `meta store`. */
  readonly part: string;
  /** Whether the same call may succeed later without anybody mending something. */
  readonly retryable: boolean;
  /** The device has no room left. */
  readonly full: boolean;

  constructor(
    part: string,
    message: string,
    options: { retryable: boolean; full?: boolean; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Unavailable';
    this.part = part;
    this.retryable = options.retryable;
    this.full = options.full ?? false;
  }
}

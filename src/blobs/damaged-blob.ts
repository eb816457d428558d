import { Unavailable } from '../std/unavailable.ts';

/** The bytes of one blob are not there as they were written. Nothing but other bytes helps; the store itself is well. */
export class DamagedBlob extends Unavailable {
  constructor(message: string, cause?: unknown) {
    super('blob store', message, { retryable: false, cause });
    this.name = 'DamagedBlob';
  }
}

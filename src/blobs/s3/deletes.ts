import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3';
import { GatheredAsking } from '../../std/gathered-asking.ts';
import { isAbsent, statusOf } from './failures.ts';
import type { Service } from './service.ts';

/** Of one request, Amazon S3 API Reference, "DeleteObjects". */
const KEYS_MAX = 1000;
/** A request that takes longer is not waited for. */
const WAIT_MILLISECONDS_MAX = 1_000;
/** What services answer that do not know the request. */
const NOT_KNOWN = new Set([405, 501]);
/** What is wrong with the request is not wrong with one for each key: another checksum is wanted, say. */
const NOT_LIKED = 400;

/**
 * Objects that are deleted at the same moment go in one request: while one is under way, others wait for the next. A service
 * that has no such request is asked for each.
 */
export class Deletes {
  readonly #service: Service;
  readonly #gathered = new GatheredAsking<string, true>({
    itemsMax: KEYS_MAX,
    waitMillisMax: WAIT_MILLISECONDS_MAX,
  });
  #batchesWork = true;

  constructor(service: Service) {
    this.#service = service;
  }

  /** Absent: no effect. */
  async delete(key: string): Promise<void> {
    const isDone = await this.#gathered.ask('delete', [key, key], (keys) => this.#deleteAll(keys));
    // Of several, the service says what became of each; asked for alone, it says why.
    if (isDone !== true) await this.deleteNow(key);
  }

  async deleteNow(key: string, signal?: AbortSignal): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: this.#service.bucket, Key: key });
    try {
      await this.#service.call(signal === undefined ? {} : { signal }, (abortSignal) =>
        this.#service.client.send(command, { abortSignal }),
      );
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }

  /** Those that are gone now. */
  async #deleteAll(keys: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, true>> {
    const [first = ''] = keys.keys();
    if (keys.size === 1) {
      await this.deleteNow(first);
      return new Map([[first, true]]);
    }
    const failed = this.#batchesWork ? await this.#deleteTogether([...keys.keys()]) : keys;
    return new Map([...keys.keys()].filter((key) => !failed.has(key)).map((key) => [key, true]));
  }

  /** The keys that are not gone. */
  async #deleteTogether(keys: readonly string[]): Promise<{ has(key: string): boolean }> {
    const command = new DeleteObjectsCommand({
      Bucket: this.#service.bucket,
      Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
    });
    try {
      const answer = await this.#service.call({}, (abortSignal) =>
        this.#service.client.send(command, { abortSignal }),
      );
      const errors = answer.Errors ?? [];
      return new Set(
        errors.every(({ Key }) => Key !== undefined) ? errors.map(({ Key }) => Key ?? '') : keys,
      );
    } catch (error) {
      const status = statusOf(error) ?? 0;
      if (NOT_KNOWN.has(status)) this.#batchesWork = false;
      else if (status !== NOT_LIKED) throw error;
      return new Set(keys);
    }
  }
}

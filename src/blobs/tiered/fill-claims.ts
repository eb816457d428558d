import { readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex } from '../../oci/digest.ts';
import type { BlobLocation, UploadId } from '../blob-store.ts';
import { errorCode } from '../fs/failures.ts';
import { FILE_MODE } from '../fs/file-operations.ts';
import { newUploadId, parseUploadId } from '../upload-id.ts';
import { hotKey } from './hot-files.ts';

/** A claim this old is that of a process that died. */
const STALE_MILLISECONDS = 10_000;
const TOUCH_MILLISECONDS = 2_000;

/** What a process that copies a blob tells the others: where the bytes come in, and how many they are going to be. */
export interface FillNotice {
  readonly uploadId: UploadId;
  readonly sizeBytes: number;
}

/** `pending`: somebody asks the cold tier at this moment. */
export type ClaimState = FillNotice | 'pending' | 'free';

/**
 * Which blobs are being copied, for all processes of the machine: a file in `<hot>/fills` for each. Nothing breaks when two
 * copy the same blob after all; they only fetch it twice.
 */
export class FillClaims {
  readonly #root: string;

  constructor(hotRoot: string) {
    this.#root = join(hotRoot, 'fills');
  }

  /** Null when somebody else has it. */
  async take(location: BlobLocation): Promise<FillClaim | null> {
    const path = this.#path(location);
    try {
      await writeFile(path, '', { flag: 'wx', mode: FILE_MODE });
    } catch (error) {
      if (errorCode(error) === 'EEXIST') return null;
      throw error;
    }
    return new FillClaim(path);
  }

  async look(location: BlobLocation): Promise<ClaimState> {
    const path = this.#path(location);
    try {
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs > STALE_MILLISECONDS) {
        await unlink(path);
        return 'free';
      }
      const text = await readFile(path, 'utf8');
      return text === '' ? 'pending' : (parse(text) ?? 'free');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return 'free';
      throw error;
    }
  }

  #path(location: BlobLocation): string {
    return join(this.#root, digestHex(hotKey(location)));
  }
}

/** Kept fresh until it is given back. */
export class FillClaim {
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;

  constructor(path: string) {
    this.#path = path;
    this.#timer = setInterval(() => {
      const now = new Date();
      utimes(path, now, now).catch(() => undefined);
    }, TOUCH_MILLISECONDS);
    this.#timer.unref();
  }

  /** Whole or not at all, for those who read it at this moment. */
  async tell(notice: FillNotice): Promise<void> {
    const fresh = `${this.#path}.${newUploadId()}`;
    await writeFile(fresh, JSON.stringify(notice), { mode: FILE_MODE });
    await rename(fresh, this.#path);
  }

  async giveBack(): Promise<void> {
    clearInterval(this.#timer);
    await unlink(this.#path).catch(() => undefined);
  }
}

function parse(text: string): FillNotice | null {
  const { uploadId, sizeBytes } = JSON.parse(text) as Record<string, unknown>;
  const id = typeof uploadId === 'string' ? parseUploadId(uploadId) : null;
  if (id === null || typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes)) return null;
  return { uploadId: id, sizeBytes };
}

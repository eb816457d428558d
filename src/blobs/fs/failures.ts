import { Unavailable } from '../../std/unavailable.ts';

const PART = 'blob store';

interface Failure {
  readonly sentence: string;
  readonly retryable: boolean;
  readonly full?: boolean;
}

const FAILURES: Readonly<Record<string, Failure>> = {
  ENOSPC: { sentence: 'no space is left on the device', retryable: true, full: true },
  EDQUOT: { sentence: 'the disk quota is used up', retryable: true, full: true },
  EMFILE: { sentence: 'this process has too many files open', retryable: true },
  ENFILE: { sentence: 'the system has too many files open', retryable: true },
  EIO: { sentence: 'the device reports an input/output error', retryable: false },
  EROFS: { sentence: 'the file system is mounted read-only', retryable: false },
  EACCES: { sentence: 'permission is denied', retryable: false },
  EPERM: { sentence: 'the operation is not permitted', retryable: false },
  ELOOP: { sentence: 'a symbolic link stands where there may be none', retryable: false },
  ENOTDIR: { sentence: 'something that is not a directory stands where one must be', retryable: false },
  EISDIR: { sentence: 'a directory stands where a file must be', retryable: false },
  EXDEV: { sentence: 'blobs/ and uploads/ must be on one file system', retryable: false },
  EFBIG: { sentence: 'the file system allows no file of this size', retryable: false },
};

export function errorCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

export function isAbsent(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

/** What a failed system call means to callers; anything else (an abort, a mistake of ours) is passed on as it is. */
export function translated(error: unknown, action: string): unknown {
  const code = errorCode(error);
  if (code === null) return error;
  const failure = FAILURES[code] ?? { sentence: `the system answers ${code}`, retryable: true };
  return new Unavailable(PART, `cannot ${action}: ${failure.sentence}`, {
    retryable: failure.retryable,
    full: failure.full ?? false,
    cause: error,
  });
}

export function unavailable(message: string, cause?: unknown): Unavailable {
  return new Unavailable(PART, message, { retryable: false, cause });
}

export async function translating<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translated(error, action);
  }
}

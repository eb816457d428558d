import type { FSWatcher } from 'node:fs';
import { watch } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { TlsConfig } from '../config/config.ts';

export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: 'TLSv1.2';
}

/** Editors and certificate tools write several times: one reload for all of it. */
const SETTLE_MILLISECONDS = 300;
/** For mounts that report no changes. */
const POLL_MILLISECONDS = 60_000;

/** Reads both files and proves that they fit each other; throws a sentence otherwise. */
export async function readTlsMaterial(config: TlsConfig): Promise<TlsMaterial> {
  const [cert, key] = await Promise.all([
    readNamed(config.certificateFile, 'certificate'),
    readNamed(config.keyFile, 'key'),
  ]);
  const material: TlsMaterial = { cert, key, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(material);
  } catch (error) {
    throw new Error(
      `the TLS certificate ${config.certificateFile} and key ${config.keyFile} cannot be used together: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return material;
}

/** Calls `onChange` when either file is another than before. Directories are watched, because files get replaced. */
export function watchTlsFiles(config: TlsConfig, onChange: () => void): { close(): void } {
  const files = [config.certificateFile, config.keyFile];
  let seen: string | null = null;
  let timer: NodeJS.Timeout | null = null;
  const watchers: FSWatcher[] = [];

  async function look(): Promise<void> {
    const now = await fingerprint(files);
    const changed = seen !== null && now !== seen;
    seen = now;
    if (changed) onChange();
  }
  function lookSoon(): void {
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(() => void look(), SETTLE_MILLISECONDS);
    timer.unref();
  }

  void look();
  for (const directory of new Set(files.map((file) => dirname(file)))) {
    try {
      watchers.push(watch(directory, { persistent: false }, lookSoon).on('error', () => {}));
    } catch {
      // The poll below still sees it.
    }
  }
  const poll = setInterval(() => void look(), POLL_MILLISECONDS);
  poll.unref();
  return {
    close() {
      clearInterval(poll);
      if (timer !== null) clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}

async function fingerprint(files: readonly string[]): Promise<string> {
  const parts = files.map(async (file) => {
    try {
      const { ino, size, mtimeMs } = await stat(file);
      return `${ino}:${size}:${mtimeMs}`;
    } catch {
      return 'absent';
    }
  });
  return (await Promise.all(parts)).join(' ');
}

async function readNamed(file: string, what: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new Error(`the TLS ${what} file ${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

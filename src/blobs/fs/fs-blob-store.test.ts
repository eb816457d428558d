import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { digestOf } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobLocation, BlobStore, UploadId } from '../blob-store.ts';
import { runBlobStoreContract } from '../contract.ts';
import { newUploadId } from '../upload-id.ts';
import { type FileOperations, systemFileOperations } from './file-operations.ts';
import { openFsBlobStore } from './fs-blob-store.ts';

const signal = new AbortController().signal;
const OURS = /^(blobs\/sha(256|512)\/[0-9a-f]{2}\/[0-9a-f]+|uploads\/[0-9a-f]{2}\/[0-9a-f]{32})$/;

runBlobStoreContract({
  name: 'fs',
  open: async () => {
    const root = await mkdtemp(join(tmpdir(), 'drift-blobs-'));
    return {
      store: await openFsBlobStore({ root }),
      reopen: () => openFsBlobStore({ root }),
      leftovers: async () => (await filesBelow(root)).filter((path) => !OURS.test(path)),
      dispose: () => rm(root, { recursive: true }),
    };
  },
});

describe('openFsBlobStore', () => {
  it('a root whose parents are missing, makes them; everything is for the owner alone', async (t) => {
    const root = join(await directory(t), 'a', 'b');
    const store = await openFsBlobStore({ root });
    const id = await stageBytes(store, 'bytes');
    assert.equal((await stat(join(root, 'uploads', id.slice(0, 2), id))).mode & 0o777, 0o600);
    const blob = await store.commit(id, digestOf('sha256', Buffer.from('bytes')), 5);
    assert.equal((await stat(join(root, 'blobs', blob?.location ?? ''))).mode & 0o777, 0o600);
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      assert.equal((await stat(join(entry.parentPath, entry.name))).mode & 0o777, 0o700, entry.name);
    }
  });

  it('a root newly made with its parents, is synced up to the directory that was there', async (t) => {
    const base = await directory(t);
    const log: string[] = [];
    await openFsBlobStore({ root: join(base, 'a', 'b'), files: logging(base, log) });
    assert.deepEqual(log.slice(0, 4), ['mkdir a/b', 'sync a/b', 'sync a', 'sync .']);
  });

  it('a root that is a file or lies below one, throws Unavailable and says so', async (t) => {
    const file = join(await directory(t), 'file');
    await writeFile(file, '');
    for (const root of [file, join(file, 'below')]) {
      await assert.rejects(openFsBlobStore({ root }), isUnavailable(/is not a directory$/));
    }
  });

  it('a root that may not be written, throws Unavailable and says so', async (t) => {
    // Root may write anywhere: let the file operations answer as they would to somebody else.
    for (const [code, sentence] of [
      ['EACCES', /permission is denied/],
      ['EROFS', /mounted read-only/],
      ['ENOSPC', /no space is left/],
    ] as const) {
      const files = { ...systemFileOperations, open: failing('open', code) };
      await assert.rejects(openFsBlobStore({ root: await directory(t), files }), isUnavailable(sentence));
    }
  });

  it('probe files of a dead process, are removed; young ones stay', async (t) => {
    const root = await directory(t);
    const [old, young] = [`.probe-${newUploadId()}`, `.probe-${newUploadId()}`];
    for (const name of [old, young]) await writeFile(join(root, name), '');
    await utimes(join(root, old), 1, 1);
    await openFsBlobStore({ root });
    assert.deepEqual(await filesBelow(root), [young]);
  });
});

describe('commit', () => {
  it('a new fan-out directory, is synced with its parent, after the bytes and before and after the name', async (t) => {
    const root = await directory(t);
    const log: string[] = [];
    const store = await openFsBlobStore({ root, files: logging(root, log) });
    const digest = digestOf('sha256', Buffer.from('bytes'));
    const blobPath = `blobs/${store.locate(newUploadId(), digest)}`;
    const fanOut = blobPath.slice(0, blobPath.lastIndexOf('/'));
    const id = await stageBytes(store, 'bytes');
    const uploadPath = `uploads/${id.slice(0, 2)}/${id}`;

    log.length = 0;
    await store.commit(id, digest, 5);
    assert.deepEqual(log, [
      `sync ${uploadPath}`,
      `mkdir ${fanOut}`,
      `sync ${fanOut}`,
      'sync blobs/sha256',
      `rename ${uploadPath} ${blobPath}`,
      `sync ${fanOut}`,
    ]);

    const again = await stageBytes(store, 'bytes');
    log.length = 0;
    await store.commit(again, digest, 5);
    const againPath = `uploads/${again.slice(0, 2)}/${again}`;
    assert.deepEqual(log, [`sync ${againPath}`, `rename ${againPath} ${blobPath}`, `sync ${fanOut}`]);
  });

  it('a large upload, is synced while it comes; when that fails, it is staged no more', async (t) => {
    const root = await directory(t);
    let synced = 0;
    let fails = false;
    const files: FileOperations = {
      ...systemFileOperations,
      open: async (...args) => {
        const handle = await systemFileOperations.open(...args);
        const datasync = handle.datasync.bind(handle);
        handle.datasync = async () => {
          synced += 1;
          if (fails) throw systemError('fdatasync', 'EIO');
          await datasync();
        };
        return handle;
      },
    };
    const store = await openFsBlobStore({ root, files });
    const piece = Buffer.alloc(1024 * 1024);
    const pieces = async function* (count: number) {
      for (let number = 0; number < count; number += 1) yield piece;
    };
    const { signal } = new AbortController();
    const id = newUploadId();
    assert.equal(await store.append(id, 0, pieces(63), signal), 63 * piece.length);
    assert.equal(synced, 0);
    assert.equal(await store.append(id, 63 * piece.length, pieces(130), signal), 193 * piece.length);
    assert.ok(synced > 0);
    fails = true;
    const appending = store.append(id, 193 * piece.length, pieces(65), signal);
    await assert.rejects(appending, isUnavailable(/input\/output error/));
    assert.equal(await store.staged(id), null);
  });

  it('an upload that was begun long ago, gives the blob the time of its commit', async (t) => {
    const root = await directory(t);
    const store = await openFsBlobStore({ root });
    const id = await stageBytes(store, 'bytes');
    await utimes(join(root, 'uploads', id.slice(0, 2), id), 1, 1);
    const before = Date.now();
    const blob = await store.commit(id, digestOf('sha256', Buffer.from('bytes')), 5);
    assert.ok((blob?.modifiedAt ?? 0) >= before - 1);
  });

  it('many at once into one directory, share one sync begun after the last rename', async (t) => {
    const root = await directory(t);
    const log: string[] = [];
    const operations = logging(root, log);
    const digest = digestOf('sha256', Buffer.from('bytes'));
    const allRenamed = Promise.withResolvers<void>();
    let gated = false;
    const files: FileOperations = {
      ...operations,
      rename: async (from, to) => {
        await operations.rename(from, to);
        if (log.filter((line) => line.startsWith('rename')).length === 32) allRenamed.resolve();
      },
      open: async (path, ...rest) => {
        const handle = await operations.open(path, ...rest);
        const sync = handle.sync.bind(handle);
        const isFanOut = String(path).endsWith(`/sha256/${digest.slice(7, 9)}`);
        // The first sync of the directory is slow: the other commits come while it runs.
        handle.sync = async () => {
          await sync();
          if (gated && isFanOut) await allRenamed.promise;
        };
        return handle;
      },
    };
    const store = await openFsBlobStore({ root, files });
    await store.commit(await stageBytes(store, 'bytes'), digest, 5);
    const ids = await Promise.all(Array.from({ length: 32 }, () => stageBytes(store, 'bytes')));
    log.length = 0;
    gated = true;
    await Promise.all(ids.map((id) => store.commit(id, digest, 5)));
    const syncs = [...log.entries()].filter(([, line]) => line.startsWith('sync blobs/'));
    assert.equal(syncs.length, 2);
    assert.ok((syncs[1]?.[0] ?? -1) > log.findLastIndex((line) => line.startsWith('rename')));
  });

  it('a fan-out directory removed behind its back, makes it anew', async (t) => {
    const root = await directory(t);
    const store = await openFsBlobStore({ root });
    const digest = digestOf('sha256', Buffer.from('bytes'));
    const { location } = (await store.commit(await stageBytes(store, 'bytes'), digest, 5)) ?? assert.fail();
    await rm(join(root, 'blobs', location, '..'), { recursive: true });
    assert.equal(await store.stat(location), null);
    assert.equal((await store.commit(await stageBytes(store, 'bytes'), digest, 5))?.location, location);
  });

  it('a sync that fails, rejects, makes no blob, and its bytes have to come again', async (t) => {
    const root = await directory(t);
    const broken = { sync: false, unlink: false };
    const files: FileOperations = {
      ...systemFileOperations,
      open: async (...args) => {
        const handle = await systemFileOperations.open(...args);
        if (broken.sync) handle.sync = () => Promise.reject(systemError('fsync', 'EIO'));
        return handle;
      },
      unlink: (path) =>
        broken.unlink ? Promise.reject(systemError('unlink', 'EROFS')) : systemFileOperations.unlink(path),
    };
    const store = await openFsBlobStore({ root, files });
    const digest = digestOf('sha256', Buffer.from('bytes'));
    for (const unlink of [false, true]) {
      const id = await stageBytes(store, 'bytes');
      broken.sync = true;
      broken.unlink = unlink;
      await assert.rejects(store.commit(id, digest, 5), isUnavailable(/input\/output error/));
      broken.sync = false;
      // What was lost and cannot be removed is no upload either.
      if (unlink) await assert.rejects(store.commit(id, digest, 5), isUnavailable(/read-only/));
      broken.unlink = false;
      assert.equal(await store.staged(id), null);
      assert.equal(await store.commit(id, digest, 5), null);
      assert.equal(await store.stat(store.locate(newUploadId(), digest)), null);
    }
    assert.equal((await store.commit(await stageBytes(store, 'bytes'), digest, 5))?.sizeBytes, 5);
  });

  it('a sync of a new directory that fails, makes the directory anew the next time', async (t) => {
    const root = await directory(t);
    const made: string[] = [];
    let broken = true;
    const digest = digestOf('sha256', Buffer.from('bytes'));
    const name = digest.slice('sha256:'.length).slice(0, 2);
    const files: FileOperations = {
      ...systemFileOperations,
      mkdir: (async (path: string, options: object) => {
        if (path.endsWith(`/sha256/${name}`)) made.push(path);
        return systemFileOperations.mkdir(path, options);
      }) as FileOperations['mkdir'],
      open: async (...args) => {
        const handle = await systemFileOperations.open(...args);
        const fails = broken && String(args[0]).endsWith(`/sha256/${name}`);
        if (fails) handle.sync = () => Promise.reject(systemError('fsync', 'EIO'));
        return handle;
      },
    };
    const store = await openFsBlobStore({ root, files });
    const id = await stageBytes(store, 'bytes');
    await assert.rejects(store.commit(id, digest, 5), isUnavailable(/input\/output error/));
    broken = false;
    assert.equal((await store.commit(id, digest, 5))?.sizeBytes, 5);
    assert.equal(made.length, 2);
  });
});

type WriteAt = (
  bytes: Uint8Array,
  from?: number,
  length?: number,
  position?: number | null,
) => Promise<{ readonly bytesWritten: number }>;

describe('append', () => {
  it('a device that takes only some bytes of a write, holds all of them in order', async (t) => {
    const root = await directory(t);
    let writes = 0;
    const files: FileOperations = {
      ...systemFileOperations,
      open: async (...args) => {
        const handle = await systemFileOperations.open(...args);
        const write: WriteAt = handle.write.bind(handle);
        const writeSome: WriteAt = (bytes, from = 0, length = bytes.byteLength, position = null) => {
          writes += 1;
          return write(bytes, from, Math.min(length, 7), position);
        };
        return Object.assign(handle, { write: writeSome });
      },
    };
    const store = await openFsBlobStore({ root, files });
    const text = 'a text much longer than seven bytes';
    const id = newUploadId();
    assert.equal(
      await store.append(id, 0, chunks(text.slice(0, 9), text.slice(9, 20), text.slice(20)), signal),
      35,
    );
    const body = await store.readStaged(id, signal);
    const read = [];
    for await (const chunk of body?.chunks ?? []) read.push(chunk);
    assert.equal(Buffer.concat(read).toString(), text);
    // Of the probe, and of pieces of 9, 11 and 15 bytes.
    assert.equal(writes, 1 + 2 + 2 + 3);
  });
});

describe('reading', () => {
  it('a file cut short after it was opened, throws instead of ending', async (t) => {
    const root = await directory(t);
    const store = await openFsBlobStore({ root });
    const blob = (await store.commit(
      await stageBytes(store, 'bytes'),
      digestOf('sha256', Buffer.from('bytes')),
      5,
    ))!;
    const body = await store.open(blob.location, null, signal);
    await truncate(join(root, 'blobs', blob.location), 2);
    await assert.rejects(
      async () => {
        for await (const _ of body?.chunks ?? []);
      },
      isUnavailable(/ends .* too early/),
    );
  });

  it('symbolic links in place of a blob, an upload or a directory, are refused', async (t) => {
    const root = await directory(t);
    const store = await openFsBlobStore({ root });
    const secret = join(await directory(t), 'secret');
    await writeFile(secret, 'secret');
    const location = store.locate(newUploadId(), digestOf('sha256', Buffer.from('x')));
    const place = join(root, 'blobs', location);
    await mkdir(join(place, '..'), { recursive: true });
    await symlink(secret, place);
    await assert.rejects(store.open(location, null, signal), isUnavailable(/symbolic link/));
    await assert.rejects(store.stat(location), isUnavailable(/is not a file/));
    assert.deepEqual((await store.list(null, 10)).entries, []);

    const id = await stageBytes(store, '');
    await rm(join(root, 'uploads', id.slice(0, 2), id));
    await symlink(secret, join(root, 'uploads', id.slice(0, 2), id));
    await assert.rejects(store.append(id, 0, chunks('x'), signal), isUnavailable(/symbolic link/));
    assert.equal((await stat(secret)).size, 6);

    const elsewhere = store.locate(newUploadId(), digestOf('sha512', Buffer.from('x')));
    const fanOut = join(root, 'blobs', elsewhere, '..');
    await symlink(await directory(t), fanOut);
    await assert.rejects(store.open(elsewhere, null, signal), isUnavailable(/not a directory/));
  });

  it('a location that leads elsewhere, is not here', async (t) => {
    const store = await openFsBlobStore({ root: await directory(t) });
    const hex = digestOf('sha256', Buffer.from('x')).slice('sha256:'.length);
    for (const text of ['', '../../etc/passwd', `sha256/../${hex}`, `sha256/00/${hex}`, `sha256/${hex}`]) {
      await assert.rejects(store.open(text as BlobLocation, null, signal), /not configured here/, text);
      await assert.rejects(store.delete(text as BlobLocation), /not configured here/, text);
    }
    await assert.rejects(store.append('../../x' as UploadId, 0, chunks('x'), signal), RangeError);
  });

  it('foreign files, in a listing, are passed over', async (t) => {
    const root = await directory(t);
    const store = await openFsBlobStore({ root });
    await mkdir(join(root, 'blobs', 'sha256', 'ab', 'cd'), { recursive: true });
    await mkdir(join(root, 'uploads', 'lost+found'), { recursive: true });
    for (const name of ['README', 'sha256/ab/.nfs01', 'sha256/stray'])
      await writeFile(join(root, 'blobs', name), '');
    assert.deepEqual(await store.list(null, 10), { entries: [], cursor: null });
    assert.deepEqual(await store.listStaged(null, 10), { entries: [], cursor: null });
  });
});

async function directory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'drift-blobs-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

async function* chunks(...pieces: string[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Buffer.from(piece);
}

async function stageBytes(store: BlobStore, text: string): Promise<UploadId> {
  const id = newUploadId();
  await store.append(id, 0, chunks(text), signal);
  return id;
}

/** Real operations that write down, below the root, what makes things durable, in the order it is done. */
function logging(root: string, log: string[]): FileOperations {
  const name = (path: unknown): string => relative(root, String(path)) || '.';
  return {
    ...systemFileOperations,
    mkdir: (async (path: string, options: { recursive?: false }) => {
      const firstMade = await systemFileOperations.mkdir(path, options);
      log.push(`mkdir ${name(path)}`);
      return firstMade;
    }) as FileOperations['mkdir'],
    rename: async (from, to) => {
      await systemFileOperations.rename(from, to);
      log.push(`rename ${name(from)} ${name(to)}`);
    },
    open: async (path, ...rest) => {
      const handle = await systemFileOperations.open(path, ...rest);
      const sync = handle.sync.bind(handle);
      handle.sync = async () => {
        log.push(`sync ${name(path)}`);
        await sync();
      };
      return handle;
    },
  };
}

function systemError(syscall: string, code: string): Error {
  return Object.assign(new Error(`${code}: ${syscall}`), { code, syscall });
}

function failing(syscall: string, code: string): () => Promise<never> {
  return () => Promise.reject(systemError(syscall, code));
}

function isUnavailable(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Unavailable, String(error));
    assert.match(error.message, message);
    return true;
  };
}

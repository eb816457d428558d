import { fstatSync, type Stats } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  opendir,
  realpath,
  rename,
  rmdir,
  statfs,
  unlink,
} from 'node:fs/promises';

/** All the driver asks of the operating system: handed in so that a test can watch the order of calls or break one. */
export interface FileOperations {
  readonly open: typeof open;
  readonly mkdir: typeof mkdir;
  readonly rename: typeof rename;
  readonly rmdir: typeof rmdir;
  readonly unlink: typeof unlink;
  readonly lstat: typeof lstat;
  readonly opendir: typeof opendir;
  readonly statfs: typeof statfs;
  readonly realpath: typeof realpath;
}

export const systemFileOperations: FileOperations = {
  open,
  mkdir,
  rename,
  rmdir,
  unlink,
  lstat,
  opendir,
  statfs,
  realpath,
};

export const DIRECTORY_MODE = 0o700;
export const FILE_MODE = 0o600;

/** What the system keeps in memory for an open file: handing it to another thread costs twenty times the answer. */
export function statOpen(handle: FileHandle): Stats {
  return fstatSync(handle.fd);
}

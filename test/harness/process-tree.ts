import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What a program and all its children hold, as the kernel counts it. */
export interface Holdings {
  readonly descriptors: number;
  /** Open blobs and staged uploads under the directory. */
  readonly files: readonly string[];
  readonly residentBytes: number;
}

export function holdingsOf(pid: number, directory: string): Holdings {
  const tree = processTree(pid);
  const targets = tree.flatMap((each) => descriptorsOf(each));
  const stored = [`${directory}/blobs/`, `${directory}/uploads/`];
  return {
    descriptors: targets.length,
    files: targets.filter((target) => stored.some((place) => target.startsWith(place))),
    residentBytes: tree.reduce((sum, each) => sum + residentOf(each), 0),
  };
}

/** The process and all that come from it. */
export function processTree(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(processTree)];
}

/** None of a process that is gone. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '))
      .filter((text) => text !== '')
      .map(Number);
  } catch {
    return [];
  }
}

function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

function residentOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? 0) * 1024;
}

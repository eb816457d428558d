import { readdirSync, readFileSync } from 'node:fs';

/** Of `/proc/<pid>/stat`; Linux has told user space 100 a second since long. */
const TICKS_PER_SECOND = 100;
const KIBIBYTE = 1024;

/** The process and all that descend from it. */
function familyOf(pid: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const fields = /^\d+$/.test(name) ? statFields(Number(name)) : null;
    if (fields === null) continue;
    const parent = Number(fields[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const family = [pid];
  for (const member of family) family.push(...(children.get(member) ?? []));
  return family;
}

/** Seconds of processor time of the whole family so far. */
export function cpuSecondsOf(pid: number): number {
  let ticks = 0;
  for (const member of familyOf(pid)) {
    const fields = statFields(member);
    // user, system, and both of children that have ended.
    if (fields !== null) for (const index of [11, 12, 13, 14]) ticks += Number(fields[index]);
  }
  return ticks / TICKS_PER_SECOND;
}

export interface Memory {
  /** Sum over the processes of what each has resident; pages that they share count once for each. */
  readonly residentBytes: number;
  /** The same with every shared page counted once. */
  readonly proportionalBytes: number;
}

export function memoryOf(pid: number): Memory {
  let residentBytes = 0;
  let proportionalBytes = 0;
  for (const member of familyOf(pid)) {
    const text = readOrEmpty(`/proc/${member}/smaps_rollup`);
    residentBytes += kibibytes(text, 'Rss') * KIBIBYTE;
    proportionalBytes += kibibytes(text, 'Pss') * KIBIBYTE;
  }
  return { residentBytes, proportionalBytes };
}

function kibibytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
}

/** From the state on: the name before it may hold anything. */
function statFields(pid: number): readonly string[] | null {
  const text = readOrEmpty(`/proc/${pid}/stat`);
  const end = text.lastIndexOf(')');
  return end < 0 ? null : text.slice(end + 2).split(' ');
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

import { delimiter, sep } from 'node:path';

/** `PATH` as somebody has it who just cloned the repository: without the programs of its packages. */
export function systemPath(): string {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((directory) => !directory.split(sep).includes('node_modules'))
    .join(delimiter);
}

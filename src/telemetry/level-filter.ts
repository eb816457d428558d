import type { Subsystem } from './telemetry.ts';

/** pino's word for "nothing at all". */
const SILENT = 'silent';

/** The level of each subsystem under a filter such as `info,access=debug`, as the configuration has checked it. */
export function readLevels(filter: string): (subsystem: Subsystem) => string {
  let base = 'info';
  const levels = new Map<string, string>();
  for (const directive of filter.split(',')) {
    const equals = directive.indexOf('=');
    if (equals < 0) base = pinoLevel(directive);
    else levels.set(directive.slice(0, equals).trim(), pinoLevel(directive.slice(equals + 1)));
  }
  return (subsystem) => levels.get(subsystem) ?? base;
}

function pinoLevel(word: string): string {
  const level = word.trim();
  return level === 'off' ? SILENT : level;
}

import type { ResolvedConfig } from './read.ts';

/** One line per key: value and source, secrets masked. */
export function describeConfig(resolved: ResolvedConfig): readonly string[] {
  const width = Math.max(...resolved.sources.map(({ key }) => key.length));
  return resolved.sources.map(
    ({ key, shown, source, reloads }) =>
      `${key.padEnd(width)} = ${shown}  (${source}${reloads ? ', reloads' : ''})`,
  );
}

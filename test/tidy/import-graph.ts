import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface Import {
  readonly target: string;
  /** `import type`: gone at run time. */
  readonly typeOnly: boolean;
}

export type ImportGraph = ReadonlyMap<string, readonly Import[]>;

// Statements, not strings: an import or export at the start of a line, or a dynamic import with a literal.
const STATIC = /^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

/** Every import of every source file. Targets in the tree are paths from the root, others the package's name. */
export function readImportGraph(patterns: readonly string[]): ImportGraph {
  const graph = new Map<string, Import[]>();
  for (const file of patterns.flatMap((pattern) => globSync(pattern)).sort()) {
    const text = readFileSync(file, 'utf8');
    const imports: Import[] = [];
    for (const match of text.matchAll(STATIC)) {
      imports.push({ target: resolve(file, match[2] ?? ''), typeOnly: match[1] !== undefined });
    }
    for (const match of text.matchAll(DYNAMIC)) {
      imports.push({ target: resolve(file, match[1] ?? ''), typeOnly: false });
    }
    graph.set(file, imports);
  }
  return graph;
}

function resolve(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return normalize(join(dirname(file), specifier));
  return specifier;
}

/** The shortest chain of run-time imports from `from` to a file that `matches`, or null. */
export function findChain(
  graph: ImportGraph,
  from: string,
  matches: (file: string) => boolean,
): readonly string[] | null {
  const queue: string[][] = [[from]];
  const seen = new Set([from]);
  for (let chain = queue.shift(); chain !== undefined; chain = queue.shift()) {
    for (const { target, typeOnly } of graph.get(chain.at(-1) ?? '') ?? []) {
      if (typeOnly) continue;
      // Asked before `seen`, so that a chain back to where it began is found.
      if (matches(target)) return [...chain, target];
      if (seen.has(target)) continue;
      seen.add(target);
      queue.push([...chain, target]);
    }
  }
  return null;
}

import type { Key } from './key.ts';
import { KEYS } from './keys.ts';
import { REFUSED } from './refused.ts';

const INTRODUCTION = `# Configuration

<!-- Generated from the table of keys in src/config/keys.ts by \`npm run docs\`. Change it there. -->

Everything has a default: \`npm start\` needs no configuration. What is set, in rising order of precedence:

1. the file: \`--config FILE\`, else the one that \`DRIFT_CONFIG\` names, else \`./drift.toml\` where there is one;
2. the environment (a name that is set to nothing counts as not set);
3. flags (\`--bind\`, \`--ui-bind\`).

Unknown keys and names, wrong values and contradictions are all reported at once, with their lines, and Drift exits with
code 78. \`drift config check\` reports the same without starting; \`drift config show\` prints each value with its source.

- **From a file:** each \`DRIFT_*\` name that is not itself a path also exists with \`_FILE\` at its end and then names a file
  that holds the value (\`DRIFT_USERS_FILE=/run/secrets/users\`); secrets have such a key in drift.toml too (\`basic.users_file\`).
- **Lists** in the environment are separated by commas, in such a file by commas or lines. Paths are relative to the working directory.
- **Sizes:** \`KiB MiB GiB TiB\` (also \`K M G T\`) are powers of 1024, \`kB MB GB TB\` powers of 1000, a plain number is bytes.
  **Times:** \`s m h d w\`, a plain number is seconds.
- **Reload:** keys marked "yes" take a new value on SIGHUP; the others need a restart.
- **In the environment of a service called drift**, names that container platforms add (\`DRIFT_SERVICE_HOST\`,
  \`DRIFT_PORT=tcp://…\`) and Bolt's \`DRIFT_REGISTRY_ENDPOINT\` are left alone. Any other unknown \`DRIFT_*\` name is an error.
`;

/** The reference page, as docs/configuration.md has it. */
export function renderConfigurationPage(): string {
  const tables = new Map<string, Key<unknown>[]>();
  for (const key of Object.values(KEYS) as Key<unknown>[]) {
    const table = key.path.slice(0, key.path.indexOf('.'));
    tables.set(table, [...(tables.get(table) ?? []), key]);
  }
  const sections = [...tables].map(([table, keys]) => `## [${table}]\n\n${keys.map(renderKey).join('\n')}`);
  return `${[INTRODUCTION, ...sections, renderRefused()].join('\n')}`;
}

function renderKey(key: Key<unknown>): string {
  const others = [...key.aliases, ...key.converted.flatMap(({ path }) => (path === null ? [] : [path]))];
  const env = [...key.env, ...key.converted.flatMap(({ env: name }) => (name === null ? [] : [name]))];
  const rows = [
    `### ${key.path}`,
    '',
    key.doc,
    '',
    `- Value: ${key.type.describe}`,
    `- Default: ${key.fallbackText ?? `\`${key.type.show(key.fallback())}\``}`,
    `- Environment: ${code(env)}${key.ranked ? ' (the first that is set wins)' : ''}`,
    ...(others.length > 0 ? [`- Also written: ${code(others)}`] : []),
    ...key.converted.flatMap(({ path, type }) =>
      path === null ? [] : [`- As \`${path}\`: ${type.describe}`],
    ),
    ...(key.secret
      ? [
          `- Secret: yes, so also from a file: ${code(key.aliases.concat(key.path).map((name) => `${name}_file`))}`,
        ]
      : []),
    `- Reload: ${key.reloads ? 'yes' : 'no'}`,
  ];
  return `${rows.join('\n')}\n`;
}

function renderRefused(): string {
  const rows = REFUSED.map(({ paths, env, reason }) => {
    const names = [...paths, ...env.map((name) => (name.endsWith('_') ? `${name}*` : name))];
    return `| ${code(names)} | ${reason} |`;
  });
  return `## Refused

Names of earlier versions that have no effect here are refused with the reason, so that nobody relies on them:

| name | reason |
|---|---|
${rows.join('\n')}
`;
}

function code(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

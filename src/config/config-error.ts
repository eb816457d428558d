export interface Problem {
  /** `drift.toml:12`, `DRIFT_USERS`, `--bind`; for a contradiction, where one of its sides was set. */
  readonly where: string;
  readonly message: string;
  readonly suggestion: string | null;
}

/** Everything that is wrong with the configuration, at once. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super(`the configuration has ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`);
    this.problems = problems;
  }
}

/** One line per problem, for a terminal. */
export function formatProblems(error: ConfigError): string {
  const lines = error.problems.map(({ where, message, suggestion }) =>
    suggestion === null ? `  ${where}: ${message}` : `  ${where}: ${message} (${suggestion})`,
  );
  return `${[`${error.message}:`, ...lines].join('\n')}\n`;
}

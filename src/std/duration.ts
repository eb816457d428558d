const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Reads `30s`, `15m`, `12h`, `7d`, `2w` or plain seconds, in whole seconds; null when the text is none of these. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([smhdw]?)$/i.exec(text.trim());
  if (!match) return null;
  const seconds = Number(match[1]) * (SECONDS[(match[2] || 's').toLowerCase()] ?? 1);
  return Number.isSafeInteger(seconds) ? seconds : null;
}

/** Writes seconds in the largest unit that holds them exactly: 900 is `15m`, 90 is `90s`. */
export function formatDuration(seconds: number): string {
  for (const unit of ['d', 'h', 'm']) {
    const size = SECONDS[unit] ?? 1;
    if (seconds !== 0 && seconds % size === 0) return `${seconds / size}${unit}`;
  }
  return `${seconds}s`;
}

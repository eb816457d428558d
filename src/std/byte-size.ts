const BINARY = ['k', 'm', 'g', 't', 'p'];

/** Reads `10 GiB`, `512MiB`, `64k` (powers of 1024), `5 GB` (powers of 1000) or plain bytes; null when it is none of these. */
export function parseByteSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgtp])(i?b)?|b)?$/i.exec(text.trim());
  if (!match) return null;
  const power = match[2] === undefined ? 0 : BINARY.indexOf(match[2].toLowerCase()) + 1;
  const base = match[3]?.toLowerCase() === 'b' ? 1000 : 1024;
  const bytes = Number(match[1]) * base ** power;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** Writes bytes in the largest binary unit that holds them exactly: 4194304 is `4 MiB`. */
export function formatByteSize(bytes: number): string {
  let size = bytes;
  let power = 0;
  while (size !== 0 && size % 1024 === 0 && power < BINARY.length) {
    size /= 1024;
    power += 1;
  }
  return power === 0 ? `${size} B` : `${size} ${BINARY[power - 1]?.toUpperCase()}iB`;
}

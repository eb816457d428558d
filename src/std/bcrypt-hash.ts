/** A higher cost would hold up every login: one check takes some ten seconds. */
export const BCRYPT_COST_MAX = 17;

/** The cost of a complete bcrypt hash (`$2b$12$…`, the base-2 logarithm of its rounds); null when it is none. */
export function bcryptCost(text: string): number | null {
  const match = /^\$2[aby]\$(0[4-9]|[1-3]\d)\$[./A-Za-z0-9]{53}$/.exec(text);
  return match === null ? null : Number(match[1]);
}

/** Whether the text is a bcrypt hash that passwords can be checked against here. */
export function isBcrypt(text: string): boolean {
  const cost = bcryptCost(text);
  return cost !== null && cost <= BCRYPT_COST_MAX;
}

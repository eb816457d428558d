/** A repository's name, as the distribution-spec writes it: `org/app`. */
export type RepositoryName = string & { readonly __brand: 'RepositoryName' };

/** The spec sets no limit, but many clients stop at 255 characters, host included; so do the other registries. */
export const REPOSITORY_NAME_LENGTH_MAX = 255;

/**
 * distribution-spec, "Pulling manifests": `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by slashes. Separators and
 * alphanumerics share no character, so the match never goes back: its time is linear.
 */
const NAME = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*$/;

export function parseRepositoryName(text: string): RepositoryName | null {
  if (text.length > REPOSITORY_NAME_LENGTH_MAX) return null;
  return NAME.test(text) ? (text as RepositoryName) : null;
}

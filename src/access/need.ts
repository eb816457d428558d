import type { Action } from './principal.ts';

/**
 * What a route needs, declared beside it as data. A route without a need does not compile; a need that the guard does not
 * know is refused.
 */
export type Need =
  /** Anybody, credentials or not: health, the token endpoint. */
  | { readonly kind: 'open' }
  /** Any principal with valid credentials; callers without any are challenged. `/v2/` is of this kind. */
  | { readonly kind: 'authenticated' }
  /** `action` on the repository of the route, or `orAction` where a lesser right suffices (HEAD during a push). */
  | { readonly kind: 'repository'; readonly action: Action; readonly orAction?: Action }
  /** The list of repositories: every caller with credentials, filtered by what they may pull. */
  | { readonly kind: 'catalog' };

import type { Scope } from '../oci/scope.ts';

export type Action = 'pull' | 'push' | 'delete';

/** Who may do what where. `pattern` is a glob over repository names: `*` within a component, `**` across them. */
export interface Grant {
  readonly kind: 'repository' | 'registry';
  readonly pattern: string;
  readonly actions: ReadonlySet<Action | 'catalog'>;
}

export interface Person {
  readonly kind: 'person' | 'robot';
  readonly name: string;
  readonly administrator: boolean;
  readonly grants: readonly Grant[];
}

export interface Anonymous {
  readonly kind: 'anonymous';
  readonly name: '';
  readonly administrator: false;
  readonly grants: readonly Grant[];
}

export type Principal = Person | Anonymous;

/** The authenticated caller of one request. */
export interface Caller {
  readonly principal: Principal;
  /** `none`: no credentials were sent (or empty ones). */
  readonly via: 'none' | 'basic' | 'token';
  /** What the access token allows at most; null without a token. Rights are the principal's, cut down to this. */
  readonly tokenScopes: readonly Scope[] | null;
}

/** A mutant that no test kills, and why that is no hole. Lines are trimmed, as the report prints them. */
export interface Explained {
  readonly file: string;
  readonly before: string;
  readonly after: string;
  readonly why: string;
}

export const EXPLAINED: readonly Explained[] = [
  {
    file: 'src/oci/range.ts',
    before: "if (equals < 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return null;",
    after: "if (equals <= 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return null;",
    why: 'Equivalent: an `=` at the very start leaves the empty unit, which is not `bytes` either.',
  },
  {
    file: 'src/oci/range.ts',
    before: "if (equals < 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return null;",
    after: "if (equals < 1 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return null;",
    why: 'Equivalent: an `=` at the very start leaves the empty unit, which is not `bytes` either.',
  },
  {
    file: 'src/oci/range.ts',
    before: 'return { start: Number(spec.length >= size ? 0n : size - spec.length), end: sizeBytes - 1 };',
    after: 'return { start: Number(spec.length > size ? 0n : size - spec.length), end: sizeBytes - 1 };',
    why: 'Equivalent: where both are equal their difference is 0 as well.',
  },
  {
    file: 'src/oci/scope.ts',
    before: 'if (first < 0 || first === last) return null;',
    after: 'if (first <= 0 || first === last) return null;',
    why: 'Equivalent: a colon at the start leaves an empty type, which is dropped two lines below.',
  },
  {
    file: 'src/oci/scope.ts',
    before: 'if (first < 0 || first === last) return null;',
    after: 'if (first < 1 || first === last) return null;',
    why: 'Equivalent: a colon at the start leaves an empty type, which is dropped two lines below.',
  },
  {
    file: 'src/oci/scope.ts',
    before: 'if (first < 0 || first === last) return null;',
    after: 'if (first < 0 && first === last) return null;',
    why: 'Equivalent: without two colons either the type or the name comes out empty or unknown, and the entry is dropped two lines below.',
  },
  {
    file: 'src/oci/scope.ts',
    before: "if (bracket >= 0 && !text.endsWith(')')) return null;",
    after: "if (bracket > 0 && !text.endsWith(')')) return null;",
    why: 'Equivalent: a bracket at the start leaves an empty type or one with a bracket in it; neither is known.',
  },
  {
    file: 'src/oci/scope.ts',
    before: "if (bracket >= 0 && !text.endsWith(')')) return null;",
    after: "if (bracket >= 1 && !text.endsWith(')')) return null;",
    why: 'Equivalent: a bracket at the start leaves an empty type or one with a bracket in it; neither is known.',
  },
  {
    file: 'src/oci/scope.ts',
    before: 'const type = bracket < 0 ? text : text.slice(0, bracket);',
    after: 'const type = bracket <= 0 ? text : text.slice(0, bracket);',
    why: 'Equivalent: a bracket at the start leaves an empty type or one with a bracket in it; neither is known.',
  },
  {
    file: 'src/oci/scope.ts',
    before: 'const type = bracket < 0 ? text : text.slice(0, bracket);',
    after: 'const type = bracket < 1 ? text : text.slice(0, bracket);',
    why: 'Equivalent: a bracket at the start leaves an empty type or one with a bracket in it; neither is known.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const NOT_BEFORE_SECONDS = 60;',
    after: 'const NOT_BEFORE_SECONDS = 61;',
    why: 'Acceptable: how far back a token is valid allows for clocks that differ; a second more or less decides nothing.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const NOT_BEFORE_SECONDS = 60;',
    after: 'const NOT_BEFORE_SECONDS = 59;',
    why: 'Acceptable: how far back a token is valid allows for clocks that differ; a second more or less decides nothing.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_ENTRIES_MAX = 20_000;',
    after: 'const CACHE_ENTRIES_MAX = 19999;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_ENTRIES_MAX = 20_000;',
    after: 'const CACHE_ENTRIES_MAX = 20001;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;',
    after: 'const CACHE_CHARACTERS_MAX = 17 * 1024 * 1024;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;',
    after: 'const CACHE_CHARACTERS_MAX = 15 * 1024 * 1024;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;',
    after: 'const CACHE_CHARACTERS_MAX = 16 * 1025 * 1024;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;',
    after: 'const CACHE_CHARACTERS_MAX = 16 * 1023 * 1024;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;',
    after: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1025;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;',
    after: 'const CACHE_CHARACTERS_MAX = 16 * 1024 * 1023;',
    why: 'Acceptable: the size of a cache. It changes how often a signature is checked, never whether a token is good.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'if (known.expiresAt > deps.clock.now()) return known;',
    after: 'if (known.expiresAt >= deps.clock.now()) return known;',
    why: 'Acceptable: the one millisecond in which a cached token expires; the signature check behind it counts whole seconds.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'return { token: signed, issuedAt: issuedAt * 1000, expiresInSeconds: deps.lifetimeSeconds };',
    after: 'return { token: signed, issuedAt: issuedAt * 1001, expiresInSeconds: deps.lifetimeSeconds };',
    why: 'Acceptable: what the token endpoint tells of the time of issue. The claims, which decide, are signed before.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'return { token: signed, issuedAt: issuedAt * 1000, expiresInSeconds: deps.lifetimeSeconds };',
    after: 'return { token: signed, issuedAt: issuedAt * 999, expiresInSeconds: deps.lifetimeSeconds };',
    why: 'Acceptable: what the token endpoint tells of the time of issue. The claims, which decide, are signed before.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: 'throw error;',
    after: 'void error;',
    why: 'Acceptable: a ledger that is away would be told as a bad token (401) and not as 503; it lets nobody in. The fault tests hold the 503.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before:
      "if (typeof sub !== 'string' || typeof exp !== 'number' || typeof stamp !== 'string') return null;",
    after:
      "if (typeof sub !== 'string' && typeof exp !== 'number' || typeof stamp !== 'string') return null;",
    why: 'Equivalent for `exp`: the verification before refuses a token whose `exp` is missing or no number.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before:
      "if (typeof sub !== 'string' || typeof exp !== 'number' || typeof stamp !== 'string') return null;",
    after:
      "if (typeof sub !== 'string' || typeof exp !== 'number' && typeof stamp !== 'string') return null;",
    why: 'Equivalent for `exp`: the verification before refuses a token whose `exp` is missing or no number.',
  },
  {
    file: 'src/access/access-tokens.ts',
    before: "if (typeof entry !== 'object' || entry === null) return null;",
    after: "if (typeof entry !== 'object' && entry === null) return null;",
    why: 'Equivalent for text and numbers: their `name` is no text, so the next line drops them.',
  },
  {
    file: 'src/access/guard.ts',
    before: "if (need.kind !== 'repository' || repository === null) return null;",
    after: "if (need.kind !== 'repository' && repository === null) return null;",
    why: 'Equivalent where it is used: only routes of a repository have such a need, and `authorize` refuses the others before.',
  },
];

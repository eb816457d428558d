/** What the ledger keeps for sign-in: people, tokens, keys, and who guessed too often. Times are milliseconds since the epoch. */

export interface LedgerUser {
  readonly name: string;
  readonly passwordHash: string;
  readonly administrator: boolean;
  readonly changedAt: number;
}

export interface RefreshToken {
  readonly tokenHash: Uint8Array;
  readonly userName: string;
  readonly service: string;
  readonly clientId: string;
  readonly stamp: string;
  readonly createdAt: number;
  readonly usedAt: number;
  readonly expiresAt: number;
}

export interface SigningKey {
  readonly keyId: string;
  readonly algorithm: string;
  readonly privateJwk: string;
  readonly publicJwk: string;
  readonly createdAt: number;
  readonly retiredAt: number;
  readonly expiresAt: number;
}

export interface LoginFailures {
  readonly key: string;
  readonly failures: number;
  readonly blockedUntil: number;
}

export interface AccessReads {
  /** Hot for ledger users: asked on each of their requests. */
  user(name: string): Promise<LedgerUser | null>;
  countUsers(): Promise<number>;
  refreshToken(tokenHash: Uint8Array): Promise<RefreshToken | null>;
  /** Keys that verify at `at`, newest first. */
  signingKeys(at: number): Promise<readonly SigningKey[]>;
  loginFailures(keys: readonly string[], at: number): Promise<readonly LoginFailures[]>;
  setting(key: string): Promise<string | null>;
}

export interface AccessWrites {
  putUser(user: LedgerUser, at: number): Promise<void>;
  putRefreshToken(token: RefreshToken): Promise<void>;
  touchRefreshToken(tokenHash: Uint8Array, at: number): Promise<void>;
  deleteRefreshToken(tokenHash: Uint8Array): Promise<void>;
  putSigningKey(key: SigningKey): Promise<void>;
  putLoginFailures(failures: LoginFailures, forgetAt: number): Promise<void>;
  clearLoginFailures(keys: readonly string[]): Promise<void>;
  putSetting(key: string, value: string): Promise<void>;
  /** Drops expired refresh tokens, signing keys and login failures, at most `limit` of each. */
  expire(at: number, limit: number): Promise<void>;
}

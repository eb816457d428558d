import type { Kysely } from 'kysely';
import type * as contract from '../meta-store.ts';
import type { Database, RefreshTokenTable, SigningKeyTable, UserTable } from '../schema.ts';
import { pagesOf } from './pages.ts';

export class AccessReads implements contract.AccessReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async user(name: string): Promise<contract.LedgerUser | null> {
    const row = await this.db.selectFrom('users').selectAll().where('name', '=', name).executeTakeFirst();
    return row === undefined ? null : userFromRow(row);
  }

  async countUsers(): Promise<number> {
    const row = await this.db
      .selectFrom('users')
      .select((eb) => eb.fn.countAll<number | string>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  async refreshToken(tokenHash: Uint8Array): Promise<contract.RefreshToken | null> {
    const row = await this.db
      .selectFrom('refresh_tokens')
      .selectAll()
      .where('token_hash', '=', tokenHash)
      .executeTakeFirst();
    return row === undefined ? null : tokenFromRow(row);
  }

  /** Sorts the few keys that rotation leaves valid. */
  async signingKeys(at: number): Promise<readonly contract.SigningKey[]> {
    const rows = await this.db
      .selectFrom('signing_keys')
      .selectAll()
      .where('expires_at', '>', at)
      .orderBy('created_at', 'desc')
      .orderBy('key_id', 'desc')
      .execute();
    return rows.map(keyFromRow);
  }

  async loginFailures(keys: readonly string[], at: number): Promise<readonly contract.LoginFailures[]> {
    const found: contract.LoginFailures[] = [];
    for (const page of pagesOf(keys)) {
      const rows = await this.db
        .selectFrom('login_failures')
        .select(['key', 'failures', 'blocked_until'])
        .where('key', 'in', page)
        .where('forget_at', '>', at)
        .execute();
      found.push(
        ...rows.map((row) => ({ key: row.key, failures: row.failures, blockedUntil: row.blocked_until })),
      );
    }
    return found;
  }

  async setting(key: string): Promise<string | null> {
    const row = await this.db
      .selectFrom('settings')
      .select('value')
      .where('key', '=', key)
      .executeTakeFirst();
    return row?.value ?? null;
  }
}

export class AccessQueries extends AccessReads implements contract.AccessWrites {
  async putUser(user: contract.LedgerUser, at: number): Promise<void> {
    const values = {
      password_hash: user.passwordHash,
      administrator: user.administrator ? 1 : 0,
      changed_at: user.changedAt,
    };
    await this.db
      .insertInto('users')
      .values({ name: user.name, created_at: at, ...values })
      .onConflict((conflict) => conflict.column('name').doUpdateSet(values))
      .execute();
  }

  async putRefreshToken(token: contract.RefreshToken): Promise<void> {
    const values = {
      user_name: token.userName,
      service: token.service,
      client_id: token.clientId,
      stamp: token.stamp,
      created_at: token.createdAt,
      used_at: token.usedAt,
      expires_at: token.expiresAt,
    };
    await this.db
      .insertInto('refresh_tokens')
      .values({ token_hash: token.tokenHash, ...values })
      .onConflict((conflict) => conflict.column('token_hash').doUpdateSet(values))
      .execute();
  }

  async touchRefreshToken(tokenHash: Uint8Array, at: number): Promise<void> {
    await this.db
      .updateTable('refresh_tokens')
      .set({ used_at: at })
      .where('token_hash', '=', tokenHash)
      .where('used_at', '<', at)
      .execute();
  }

  async deleteRefreshToken(tokenHash: Uint8Array): Promise<void> {
    await this.db.deleteFrom('refresh_tokens').where('token_hash', '=', tokenHash).execute();
  }

  async putSigningKey(key: contract.SigningKey): Promise<void> {
    const values = {
      algorithm: key.algorithm,
      private_jwk: key.privateJwk,
      public_jwk: key.publicJwk,
      created_at: key.createdAt,
      retired_at: key.retiredAt,
      expires_at: key.expiresAt,
    };
    await this.db
      .insertInto('signing_keys')
      .values({ key_id: key.keyId, ...values })
      .onConflict((conflict) => conflict.column('key_id').doUpdateSet(values))
      .execute();
  }

  async putLoginFailures(failures: contract.LoginFailures, forgetAt: number): Promise<void> {
    const values = {
      failures: failures.failures,
      blocked_until: failures.blockedUntil,
      forget_at: forgetAt,
    };
    await this.db
      .insertInto('login_failures')
      .values({ key: failures.key, ...values })
      .onConflict((conflict) => conflict.column('key').doUpdateSet(values))
      .execute();
  }

  async clearLoginFailures(keys: readonly string[]): Promise<void> {
    for (const page of pagesOf(keys)) {
      await this.db.deleteFrom('login_failures').where('key', 'in', page).execute();
    }
  }

  async putSetting(key: string, value: string): Promise<void> {
    await this.db
      .insertInto('settings')
      .values({ key, value })
      .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
      .execute();
  }

  async expire(at: number, limit: number): Promise<void> {
    await this.db
      .deleteFrom('refresh_tokens')
      .where('token_hash', 'in', (eb) =>
        eb.selectFrom('refresh_tokens').select('token_hash').where('expires_at', '<=', at).limit(limit),
      )
      .execute();
    await this.db
      .deleteFrom('signing_keys')
      .where('key_id', 'in', (eb) =>
        eb.selectFrom('signing_keys').select('key_id').where('expires_at', '<=', at).limit(limit),
      )
      .execute();
    await this.db
      .deleteFrom('login_failures')
      .where('key', 'in', (eb) =>
        eb.selectFrom('login_failures').select('key').where('forget_at', '<=', at).limit(limit),
      )
      .execute();
  }
}

export function userFromRow(row: Omit<UserTable, 'created_at'>): contract.LedgerUser {
  return {
    name: row.name,
    passwordHash: row.password_hash,
    administrator: row.administrator !== 0,
    changedAt: row.changed_at,
  };
}

function tokenFromRow(row: RefreshTokenTable): contract.RefreshToken {
  return {
    tokenHash: row.token_hash,
    userName: row.user_name,
    service: row.service,
    clientId: row.client_id,
    stamp: row.stamp,
    createdAt: row.created_at,
    usedAt: row.used_at,
    expiresAt: row.expires_at,
  };
}

function keyFromRow(row: SigningKeyTable): contract.SigningKey {
  return {
    keyId: row.key_id,
    algorithm: row.algorithm,
    privateJwk: row.private_jwk,
    publicJwk: row.public_jwk,
    createdAt: row.created_at,
    retiredAt: row.retired_at,
    expiresAt: row.expires_at,
  };
}

import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose';
import { ACCESS_TOKEN_SECONDS_MAX } from '../config/keys.ts';
import type { MetaStore, SigningKey } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';

export const SIGNING_ALGORITHM = 'ES256';

/** A key signs this long, then the next one is made. */
export const KEY_SIGNS_MS = 30 * 24 * 3_600_000;
/** Clocks of nodes may differ by so much. */
const CLOCK_SKEW_MS = 5 * 60_000;
/** Between two looks at the ledger for a key that is not known: forged key ids must not cost a query each. */
const REFRESH_MS_MIN = 200;

export interface SigningKeys {
  /** The key that signs now; makes one when there is none, or the last one is too old. */
  current(): Promise<{ readonly keyId: string; readonly privateKey: CryptoKey }>;
  /** The public key of this id, if it is one of ours and still verifies. */
  find(keyId: string): Promise<CryptoKey | null>;
  /** All that still verify, as a JWK set. */
  publicSet(): Promise<{ readonly keys: readonly JWK[] }>;
}

interface LoadedKey {
  readonly row: SigningKey;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** Keys live in the ledger, so that each process verifies what another signed, also after a restart. */
export function createSigningKeys(deps: { readonly meta: MetaStore; readonly clock: Clock }): SigningKeys {
  const { meta, clock } = deps;
  let loaded: readonly LoadedKey[] = [];
  let refreshing: Promise<void> | null = null;
  let refreshedAt = Number.NEGATIVE_INFINITY;

  async function refresh(): Promise<void> {
    const rows = await meta.read.access.signingKeys(clock.now());
    loaded = await Promise.all(
      rows
        .filter((row) => row.algorithm === SIGNING_ALGORITHM)
        .map(async (row) => loaded.find((key) => key.row.keyId === row.keyId) ?? load(row)),
    );
  }

  /** One look at the ledger for all who ask meanwhile, and not sooner than the interval after the last. */
  function refreshSoon(): Promise<void> {
    refreshing ??= (async () => {
      try {
        const waitMs = refreshedAt + REFRESH_MS_MIN - performance.now();
        if (waitMs > 0) await sleep(waitMs, undefined, { ref: false });
        await refresh();
      } finally {
        refreshedAt = performance.now();
        refreshing = null;
      }
    })();
    return refreshing;
  }

  const live = (key: LoadedKey): boolean => key.row.expiresAt > clock.now();
  const signing = (): LoadedKey | undefined => loaded.find((key) => key.row.retiredAt > clock.now());

  async function current(): Promise<{ keyId: string; privateKey: CryptoKey }> {
    if (signing() === undefined) {
      await addKey(meta, clock);
      await refresh();
    }
    const key = signing();
    if (key === undefined) throw new Error('the signing key that was just made is not in the ledger');
    return { keyId: key.row.keyId, privateKey: key.privateKey };
  }

  async function find(keyId: string): Promise<CryptoKey | null> {
    const known = (): LoadedKey | undefined => loaded.find((key) => key.row.keyId === keyId && live(key));
    if (known() === undefined) await refreshSoon();
    return known()?.publicKey ?? null;
  }

  async function publicSet(): Promise<{ keys: readonly JWK[] }> {
    await current();
    await refreshSoon();
    return { keys: loaded.filter(live).map((key) => JSON.parse(key.row.publicJwk) as JWK) };
  }

  return { current, find, publicSet };
}

async function load(row: SigningKey): Promise<LoadedKey> {
  const [privateKey, publicKey] = await Promise.all([
    importJWK(JSON.parse(row.privateJwk) as JWK, SIGNING_ALGORITHM),
    importJWK(JSON.parse(row.publicJwk) as JWK, SIGNING_ALGORITHM),
  ]);
  return { row, privateKey: privateKey as CryptoKey, publicKey: publicKey as CryptoKey };
}

/** Puts a fresh key into the ledger unless another process was faster. */
async function addKey(meta: MetaStore, clock: Clock): Promise<void> {
  const { privateKey, publicKey } = await generateKeyPair(SIGNING_ALGORITHM, { extractable: true });
  const publicJwk = await exportJWK(publicKey);
  const keyId = await calculateJwkThumbprint(publicJwk);
  const shared = { kid: keyId, alg: SIGNING_ALGORITHM, use: 'sig' };
  const createdAt = clock.now();
  const retiredAt = createdAt + KEY_SIGNS_MS;
  const row: SigningKey = {
    keyId,
    algorithm: SIGNING_ALGORITHM,
    privateJwk: JSON.stringify({ ...(await exportJWK(privateKey)), ...shared }),
    publicJwk: JSON.stringify({ ...publicJwk, ...shared }),
    createdAt,
    retiredAt,
    // The last of its tokens may come under any later configuration.
    expiresAt: retiredAt + ACCESS_TOKEN_SECONDS_MAX * 1000 + CLOCK_SKEW_MS,
  };
  await meta.transaction(async (tx) => {
    const others = await tx.access.signingKeys(createdAt);
    const signs = others.some((key) => key.retiredAt > createdAt && key.algorithm === SIGNING_ALGORITHM);
    if (!signs) await tx.access.putSigningKey(row);
  });
}

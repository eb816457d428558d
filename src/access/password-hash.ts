import { type Argon2Algorithm, argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const argon2Async = promisify(argon2);

/** OWASP's first choice for argon2id: 19 MiB, two passes, one lane; about 40 ms here. */
const MEMORY_KIB = 19_456;
const PASSES = 2;
const LANES = 1;
const TAG_BYTES = 32;
const SALT_BYTES = 16;

/** Bounds of the hashes that we accept to compute, so that a configured one cannot take the machine down. */
const MEMORY_KIB_MAX = 1_048_576;
const PASSES_MAX = 64;
const LANES_MAX = 64;

export interface Argon2Hash {
  readonly algorithm: Argon2Algorithm;
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Buffer;
  readonly tag: Buffer;
}

const PHC =
  /^\$(argon2(?:id|i|d))\$v=19\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,4})\$([A-Za-z0-9+/]+)=*\$([A-Za-z0-9+/]+)=*$/;

/** Reads a PHC string (`$argon2id$v=19$m=…,t=…,p=…$salt$tag`); null when it is none that we can compute. */
export function parseArgon2(text: string): Argon2Hash | null {
  const match = PHC.exec(text);
  if (match === null) return null;
  const [, algorithm, memory, passes, lanes, salt, tag] = match as unknown as [
    string,
    Argon2Algorithm,
    ...string[],
  ];
  const hash: Argon2Hash = {
    algorithm,
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(lanes),
    salt: Buffer.from(salt ?? '', 'base64'),
    tag: Buffer.from(tag ?? '', 'base64'),
  };
  return withinBounds(hash) ? hash : null;
}

function withinBounds({ memory, passes, parallelism, salt, tag }: Argon2Hash): boolean {
  return (
    parallelism >= 1 &&
    parallelism <= LANES_MAX &&
    memory >= 8 * parallelism &&
    memory <= MEMORY_KIB_MAX &&
    passes >= 1 &&
    passes <= PASSES_MAX &&
    salt.length >= 8 &&
    tag.length >= 16 &&
    tag.length <= 128
  );
}

/** Looks like a hash (`$id$…`), understood or not: such a text is never taken for a plain password. */
export function looksHashed(text: string): boolean {
  return /^\$(?:argon2|2[abxy]?\$|scrypt|pbkdf2|[156y]\$|apr1)/.test(text);
}

export async function argon2Matches(password: string, hash: Argon2Hash): Promise<boolean> {
  const tag = await argon2Async(hash.algorithm, {
    message: password,
    nonce: hash.salt,
    parallelism: hash.parallelism,
    tagLength: hash.tag.length,
    memory: hash.memory,
    passes: hash.passes,
  });
  return timingSafeEqual(tag, hash.tag);
}

/** Our own form of a password: argon2id with the given salt. */
export async function deriveArgon2(password: string, salt: Buffer): Promise<Argon2Hash> {
  const parameters = { parallelism: LANES, memory: MEMORY_KIB, passes: PASSES };
  const tag = await argon2Async('argon2id', {
    message: password,
    nonce: salt,
    tagLength: TAG_BYTES,
    ...parameters,
  });
  return { algorithm: 'argon2id', ...parameters, salt, tag };
}

/** A PHC string for the ledger. */
export async function hashPassword(password: string): Promise<string> {
  const { salt, tag } = await deriveArgon2(password, randomBytes(SALT_BYTES));
  return `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${LANES}$${unpadded(salt)}$${unpadded(tag)}`;
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}

/** What an unknown user's password is compared with, so that the answer takes as long as for a known one. */
export const DECOY_HASH: Argon2Hash = {
  algorithm: 'argon2id',
  parallelism: LANES,
  memory: MEMORY_KIB,
  passes: PASSES,
  salt: randomBytes(SALT_BYTES),
  tag: randomBytes(TAG_BYTES),
};

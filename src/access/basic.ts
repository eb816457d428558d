import { RegistryError } from '../oci/error-codes.ts';

/** Characters of the whole header value: tokens stay far below, and so do all passwords that people have. */
const AUTHORIZATION_LENGTH_MAX = 16_384;
/** Characters. */
const USER_NAME_LENGTH_MAX = 255;
/** Characters; also the bound of what a slow hash is asked to digest. */
const PASSWORD_LENGTH_MAX = 1024;

export interface NamedPassword {
  readonly name: string;
  readonly password: string;
}

export type Credentials =
  | { readonly kind: 'none' }
  | ({ readonly kind: 'basic' } & NamedPassword)
  | { readonly kind: 'token'; readonly token: string }
  /** Well-formed HTTP, but nothing that could be valid here. */
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * RFC 9110 11.4 and RFC 7617. Takes all the `Authorization` headers of a request: which of two the sender meant cannot be
 * known, and a proxy may have judged by the other one.
 */
export function parseAuthorization(values: readonly string[]): Credentials {
  const [value] = values;
  if (value === undefined) return { kind: 'none' };
  if (values.length > 1) {
    throw new RegistryError('REQUEST_INVALID', 'more than one Authorization header was sent');
  }
  if (value.length > AUTHORIZATION_LENGTH_MAX) {
    throw new RegistryError(
      'REQUEST_INVALID',
      `the Authorization header is longer than ${AUTHORIZATION_LENGTH_MAX} characters`,
    );
  }
  const space = value.indexOf(' ');
  const scheme = (space < 0 ? value : value.slice(0, space)).toLowerCase();
  const rest = space < 0 ? '' : value.slice(space + 1).trim();
  if (scheme === 'basic') return parseBasic(rest);
  if (scheme === 'bearer') {
    return rest === ''
      ? { kind: 'unusable', why: 'the bearer token is empty' }
      : { kind: 'token', token: rest };
  }
  return { kind: 'unusable', why: 'only the Basic and Bearer schemes are accepted' };
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

function parseBasic(encoded: string): Credentials {
  const text = BASE64.test(encoded) ? decodeUtf8(Buffer.from(encoded, 'base64')) : null;
  if (text === null) return { kind: 'unusable', why: 'the Basic credentials are not base64 of UTF-8 text' };
  const colon = text.indexOf(':');
  if (colon < 0) return { kind: 'unusable', why: 'the Basic credentials have no colon' };
  const name = text.slice(0, colon);
  const password = text.slice(colon + 1);
  // containers/image sends `Basic Og==` for a caller without credentials.
  if (name === '' && password === '') return { kind: 'none' };
  const why = unusableBecause({ name, password });
  return why === null ? { kind: 'basic', name, password } : { kind: 'unusable', why };
}

/** Why no user can have this name and password; null when one could. */
export function unusableBecause({ name, password }: NamedPassword): string | null {
  if (name === '') return 'the user name is empty';
  if (name.length > USER_NAME_LENGTH_MAX)
    return `the user name is longer than ${USER_NAME_LENGTH_MAX} characters`;
  if (password.length > PASSWORD_LENGTH_MAX)
    return `the password is longer than ${PASSWORD_LENGTH_MAX} characters`;
  // RFC 7617 section 2: no control characters in either.
  if (hasControls(name) || hasControls(password)) return 'the credentials hold control characters';
  return null;
}

function hasControls(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

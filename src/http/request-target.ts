/** Characters of the path of a request; the longest real one is a name of 255 and a sha512 digest. */
const PATH_LENGTH_MAX = 2048;

export interface RequestTarget {
  /** As sent, undecoded. */
  readonly path: string;
  /** What follows the first `?`, empty when there is none. */
  readonly query: string;
}

/**
 * Splits a raw request target once, so that routing and access decide on the same text. `new URL` is never asked: it folds
 * `..` and backslashes and takes the host of `//host/path`. Null for everything that is not plain origin-form.
 */
export function splitTarget(raw: string | undefined): RequestTarget | null {
  if (raw === undefined || raw.charCodeAt(0) !== SLASH) return null;
  const mark = raw.indexOf('?');
  const path = mark < 0 ? raw : raw.slice(0, mark);
  if (path.length > PATH_LENGTH_MAX || UNSAFE.test(path) || hasDotSegment(path)) return null;
  return { path, query: mark < 0 ? '' : raw.slice(mark + 1) };
}

/**
 * What `/v2` refuses beyond that: escapes that hide a separator, a dot segment or a control character, and escapes that are
 * broken or no UTF-8. `%3A` in a digest is fine.
 */
export function isPlainPath(path: string): boolean {
  if (!path.includes('%')) return true;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return false;
  }
  return !ESCAPED_SEPARATOR.test(path) && !CONTROL.test(decoded) && !hasDotSegment(decoded);
}

const SLASH = 0x2f;
/** `//`, backslash, anything but visible ASCII. */
const UNSAFE = /\/\/|\\|[^\x21-\x7e]/;
const ESCAPED_SEPARATOR = /%(?:2f|5c)/i;
const CONTROL = /\p{Cc}/u;

function hasDotSegment(path: string): boolean {
  if (!path.includes('/.')) return false;
  return path.split('/').some((segment) => segment === '.' || segment === '..');
}

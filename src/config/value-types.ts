import { isIP } from 'node:net';
import { formatByteSize, parseByteSize } from '../std/byte-size.ts';
import { formatDuration, parseDuration } from '../std/duration.ts';
import { globIsValid } from '../std/glob.ts';
import type { ListenAddress } from './config.ts';
import { ValueError } from './value-error.ts';

/** How one kind of value is read from an environment name, read from TOML, and shown. */
export interface ValueType<T> {
  /** For the reference page: what may stand there. */
  readonly describe: string;
  /** The value names a file; then there is no `*_FILE` spelling of it. */
  readonly isPath: boolean;
  fromText(text: string): T;
  fromToml(raw: unknown): T;
  /** For `config show`; never holds a secret. */
  show(value: T): string;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

export function text(): ValueType<string> {
  return stringType({ describe: 'text', read: nonEmpty, show: String });
}

export function optionalText(): ValueType<string | null> {
  return stringType<string | null>({ describe: 'text', read: nonEmpty, show: showOrNone });
}

/** Never shown. */
export function secretText(): ValueType<string | null> {
  return stringType<string | null>({
    describe: 'text',
    read: nonEmpty,
    show: (value) => (value === null ? '(none)' : '(secret)'),
  });
}

export function bucketName(): ValueType<string | null> {
  const read = (value: string): string =>
    /^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/.test(value) ? value : fail('must be the name of a bucket', value);
  return stringType<string | null>({ describe: 'name of a bucket', read, show: showOrNone });
}

/** What stands in a key of an object everywhere without being escaped; with a slash at its end. */
export function keyPrefix(): ValueType<string> {
  const read = (value: string): string => {
    if (!/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*\/?$/.test(value) || value.length > 512) {
      return fail('must be words of letters, digits, `.`, `_` and `-` with slashes between them', value);
    }
    return value.endsWith('/') ? value : `${value}/`;
  };
  return stringType({ describe: 'beginning of keys, such as `drift/`', read, show: showOrNone });
}

/** Refuses those whose objects have to be restored before they can be read. */
export function storageClass(): ValueType<string | null> {
  const read = (value: string): string => {
    const name = value.trim().toUpperCase();
    if (name === 'GLACIER' || name === 'DEEP_ARCHIVE') {
      throw new ValueError('must be a storage class whose objects can be read at once');
    }
    return /^[A-Z0-9_-]{1,64}$/.test(name) ? name : fail('must be the name of a storage class', value);
  };
  return stringType<string | null>({ describe: 'name of a storage class', read, show: showOrNone });
}

export function path<T extends string | null = string>(): ValueType<T> {
  const type = stringType<T>({ describe: 'path', read: (value) => readPath(value) as T, show: showOrNone });
  return { ...type, isPath: true };
}

export function integer(bounds: Bounds): ValueType<number> {
  return {
    describe: `whole number, ${bounds.min} to ${bounds.max}`,
    isPath: false,
    fromText: (value) =>
      within(
        /^\d+$/.test(value.trim()) ? Number(value) : fail('must be a whole number', value),
        bounds,
        String,
      ),
    fromToml: (raw) =>
      within(Number.isInteger(raw) ? (raw as number) : fail('must be a whole number', raw), bounds, String),
    show: String,
  };
}

/** A whole number of `unit` units, for spellings that carry their unit in their name. */
export function scaled(unit: number, bounds: Bounds): ValueType<number> {
  const inner = integer(bounds);
  return {
    ...inner,
    fromText: (value) => inner.fromText(value) * unit,
    fromToml: (raw) => inner.fromToml(raw) * unit,
    show: (value) => String(value / unit),
  };
}

export function byteSize(bounds: Bounds): ValueType<number> {
  const read = (value: string) =>
    within(
      parseByteSize(value) ?? fail('must be a size such as "10 GiB", "512MiB" or plain bytes', value),
      bounds,
      formatByteSize,
    );
  return {
    describe: `size (\`10 GiB\`, bytes), ${formatByteSize(bounds.min)} to ${formatByteSize(bounds.max)}`,
    isPath: false,
    fromText: read,
    fromToml: (raw) => read(stringOrNumber(raw, 'must be a size such as "10 GiB" or plain bytes')),
    show: formatByteSize,
  };
}

export function duration(bounds: Bounds): ValueType<number> {
  const read = (value: string) =>
    within(
      parseDuration(value) ?? fail('must be a time such as "30s", "15m", "7d" or plain seconds', value),
      bounds,
      formatDuration,
    );
  return {
    describe: `time (\`30s\`, \`15m\`, \`7d\`, seconds), ${formatDuration(bounds.min)} to ${formatDuration(bounds.max)}`,
    isPath: false,
    fromText: read,
    fromToml: (raw) => read(stringOrNumber(raw, 'must be a time such as "30s" or plain seconds')),
    show: formatDuration,
  };
}

export function flag<T extends boolean | null = boolean>(): ValueType<T> {
  return {
    describe: '`true` or `false`',
    isPath: false,
    fromText: (value) => (readFlag(value) ?? fail('must be true or false', value)) as T,
    fromToml: (raw) =>
      (typeof raw === 'boolean' ? raw : fail('must be true or false, without quotes', raw)) as T,
    show: (value) => (value === null ? '(none)' : String(value)),
  };
}

export function readFlag(value: string): boolean | null {
  if (/^(true|1|yes|on)$/i.test(value.trim())) return true;
  return /^(false|0|no|off)$/i.test(value.trim()) ? false : null;
}

/** One of `words`; `spellings` are other words for them; `refused` are words of features that do not exist here, with the reason. */
export function choice<T extends string>(options: {
  readonly words: readonly T[];
  readonly spellings?: Readonly<Record<string, T>>;
  readonly refused?: Readonly<Record<string, string>>;
}): ValueType<T> {
  const list = options.words.map((word) => `"${word}"`).join(' or ');
  const read = (value: string): T => {
    const word = value.trim().toLowerCase();
    const known =
      options.words.find((candidate) => candidate.toLowerCase() === word) ?? options.spellings?.[word];
    if (known !== undefined) return known;
    const reason = options.refused?.[word];
    if (reason !== undefined) throw new ValueError(`${reason} is not part of this version`, `use ${list}`);
    return fail(`must be ${list}`, value);
  };
  return stringType({ describe: options.words.map((word) => `\`${word}\``).join(', '), read, show: String });
}

/** Items by comma or line in an environment name, an array (or one string of items) in TOML. */
export function list(describe: string, readItem: (item: string) => string): ValueType<readonly string[]> {
  const read = (items: readonly string[]) => items.map((item) => readItem(item.trim()));
  return {
    describe: `list of ${describe}`,
    isPath: false,
    fromText: (value) => read(splitItems(value)),
    fromToml: (raw) => read(typeof raw === 'string' ? splitItems(raw) : strings(raw)),
    show: (items) => (items.length === 0 ? '(none)' : items.join(', ')),
  };
}

function splitItems(value: string): string[] {
  return value.split(/[,\n]/).filter((item) => item.trim() !== '');
}

export function strings(raw: unknown): string[] {
  if (Array.isArray(raw) && raw.every((item) => typeof item === 'string')) return raw;
  return fail('must be a list of strings', raw);
}

export function address(): ValueType<ListenAddress> {
  return stringType({ describe: '`host:port`', read: readAddress, show: showAddress });
}

export function showAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Throws for an address that no client of PostgreSQL would understand. Never shown. */
export function postgresUrl(): ValueType<string | null> {
  return stringType<string | null>({
    describe: 'address `postgres://…`',
    read: readPostgresUrl,
    show: (value) => (value === null ? '(none)' : '(secret)'),
  });
}

export function postgresUrls(): ValueType<readonly string[]> {
  return {
    ...list('addresses `postgres://…`', readPostgresUrl),
    show: (values) => (values.length === 0 ? '(none)' : values.map(() => '(secret)').join(', ')),
  };
}

function readPostgresUrl(value: string): string {
  // What it says stays out of the message: it holds a password.
  if (URL.canParse(value) && /^postgres(ql)?:$/.test(new URL(value).protocol)) return value;
  throw new ValueError('must be an address like postgres://user:password@host:5432/drift');
}

export function origin(): ValueType<string | null> {
  return stringType<string | null>({
    describe: 'address such as `https://registry.example.com`',
    read: readOrigin,
    show: showOrNone,
  });
}

/** An address block `10.0.0.0/8`; a single address stands for itself. */
export function readBlock(item: string): string {
  const [host = '', bits, ...rest] = item.split('/');
  const version = isIP(host);
  const widest = version === 4 ? 32 : 128;
  const length = bits === undefined ? widest : /^\d+$/.test(bits) ? Number(bits) : Number.NaN;
  if (version === 0 || rest.length > 0 || !(length >= 0 && length <= widest)) {
    return fail('must hold address blocks such as "10.0.0.0/8" or "fd00::/8"', item);
  }
  return `${host}/${length}`;
}

/** A glob over repository names: lower case, as these are. */
export function readRepositoryGlob(item: string): string {
  if (/^[a-z0-9*?][a-z0-9._*?/-]*$/.test(item) && !item.includes('//')) return checkedGlob(item);
  return fail('must hold repository names or globs such as "ghost/demo" or "team/**"', item);
}

export function readTagGlob(item: string): string {
  if (/^[A-Za-z0-9_*?][A-Za-z0-9._*?-]{0,127}$/.test(item)) return checkedGlob(item);
  return fail('must hold tags or globs such as "release" or "v*"', item);
}

function checkedGlob(item: string): string {
  const problem = globIsValid(item);
  if (problem !== null) throw new ValueError(`${problem} ("${item.slice(0, 80)}")`);
  return item;
}

export function fail(message: string, raw: unknown): never {
  throw new ValueError(`${message}, not ${showRaw(raw)}`);
}

function showRaw(raw: unknown): string {
  if (typeof raw === 'object' && raw !== null) return Array.isArray(raw) ? 'a list' : 'a table';
  const shown = typeof raw === 'string' ? `"${raw}"` : String(raw);
  return shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
}

function stringType<T>(options: {
  readonly describe: string;
  readonly read: (value: string) => T;
  readonly show: (value: T) => string;
}): ValueType<T> {
  const { describe, read, show } = options;
  return {
    describe,
    isPath: false,
    fromText: read,
    fromToml: (raw) => read(typeof raw === 'string' ? raw : fail('must be a string in quotes', raw)),
    show,
  };
}

/** A key pasted where its file belongs is refused without being shown. */
function readPath(value: string): string {
  if (/[\n\0]|-----BEGIN/.test(value)) throw new ValueError('must be the path of a file, not its content');
  return nonEmpty(value);
}

function nonEmpty(value: string): string {
  return value.trim() === '' ? fail('must not be empty', value) : value.trim();
}

function showOrNone(value: string | null): string {
  return value ?? '(none)';
}

function stringOrNumber(raw: unknown, message: string): string {
  return typeof raw === 'string' || typeof raw === 'number' ? String(raw) : fail(message, raw);
}

function within(value: number, { min, max }: Bounds, show: (value: number) => string): number {
  if (value >= min && value <= max) return value;
  throw new ValueError(`must be between ${show(min)} and ${show(max)}, not ${show(value)}`);
}

function readAddress(value: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s/]*)):(\d{1,5})$/.exec(value.trim());
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2] ?? '';
  if (!match || port > 65_535 || (match[1] !== undefined && isIP(host) !== 6)) {
    return fail('must be host:port, such as "0.0.0.0:5000" or "[::1]:5000"', value);
  }
  return { host: host === '' ? '0.0.0.0' : host, port };
}

function readOrigin(value: string): string {
  const url = URL.canParse(value.trim()) ? new URL(value.trim()) : null;
  const wanted = 'must be an address such as "https://registry.example.com"';
  if (url === null || !/^https?:$/.test(url.protocol))
    return fail(`${wanted}, with http:// or https://`, value);
  if (url.username !== '' || url.password !== '')
    throw new ValueError(`${wanted}, without user and password`);
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    return fail(`${wanted}, without a path`, value);
  return url.origin;
}

import { DESCRIPTOR_KEYS, manifestInvalid, quote } from './descriptor.ts';

/**
 * Looks at the text of a manifest before `JSON.parse` does, for what a parsed value no longer shows. Go matches keys in any
 * case and takes the last of two; JavaScript is exact. `{"Layers": …}` would be invisible to our checks and to the sweep,
 * and alive for clients. So at the levels that we read, a key may stand only once, and never in another case.
 */

/** Objects and lists within each other. Real manifests need five. */
const MANIFEST_DEPTH_MAX = 64;
/** Members and elements over all objects and lists: 4 MiB can hold a million, which would keep everyone waiting. */
const MANIFEST_VALUES_MAX = 200_000;

const MANIFEST_KEYS = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
] as const;

/** What an object or list is to us. In `annotations` every key is free, but stands once; `other` is nobody's business. */
type Level = 'manifest' | 'descriptor' | 'descriptors' | 'annotations' | 'other';

interface Frame {
  readonly level: Level;
  readonly isObject: boolean;
  /** Null where keys may be repeated. */
  readonly keys: Set<string> | null;
  /** The key whose value comes next. */
  key: string;
  expectsKey: boolean;
}

const KNOWN_KEYS: Readonly<Partial<Record<Level, ReadonlyMap<string, string>>>> = {
  manifest: new Map(MANIFEST_KEYS.map((key) => [fold(key), key])),
  descriptor: new Map(DESCRIPTOR_KEYS.map((key) => [fold(key), key])),
};
/** No key that is longer than this can be one of the known ones. */
const KNOWN_KEY_LENGTH_MAX = Math.max(...[...MANIFEST_KEYS, ...DESCRIPTOR_KEYS].map((key) => key.length));

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/**
 * Throws `MANIFEST_INVALID` for repeated keys, keys in another case, deep nesting and too many values. Text that is not
 * JSON is no concern of the scan, which only must end: `JSON.parse` refuses it afterwards.
 */
export function scanManifest(text: string): void {
  const stack: Frame[] = [];
  let index = 0;
  let values = 0;
  while (index < text.length) {
    const frame = stack.at(-1);
    switch (text.charCodeAt(index)) {
      case QUOTE: {
        const end = endOfString(text, index);
        if (frame?.expectsKey === true) takeKey(frame, text.slice(index, end));
        index = end;
        continue;
      }
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (stack.length === MANIFEST_DEPTH_MAX) {
          throw manifestInvalid(`the manifest nests deeper than ${MANIFEST_DEPTH_MAX} levels`);
        }
        values += 1;
        stack.push(openFrame(frame, text.charCodeAt(index) === OPEN_BRACE));
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        stack.pop();
        break;
      case COMMA:
        values += 1;
        if (frame !== undefined) frame.expectsKey = frame.isObject;
        break;
    }
    if (values > MANIFEST_VALUES_MAX) {
      throw manifestInvalid(`the manifest holds more than ${MANIFEST_VALUES_MAX} values`);
    }
    index += 1;
  }
}

/** The index after the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) return index + 1;
    if (code === BACKSLASH) index += 1;
  }
  return text.length;
}

function openFrame(parent: Frame | undefined, isObject: boolean): Frame {
  const level = levelWithin(parent, isObject);
  const keys = isObject && level !== 'other' ? new Set<string>() : null;
  return { level, isObject, keys, key: '', expectsKey: isObject };
}

function levelWithin(parent: Frame | undefined, isObject: boolean): Level {
  if (parent === undefined) return isObject ? 'manifest' : 'other';
  if (!isObject) {
    const holdsDescriptors = parent.key === 'layers' || parent.key === 'manifests';
    return parent.level === 'manifest' && holdsDescriptors ? 'descriptors' : 'other';
  }
  if (parent.level === 'descriptors') return 'descriptor';
  if (parent.level !== 'manifest' && parent.level !== 'descriptor') return 'other';
  if (parent.key === 'annotations') return 'annotations';
  const isDescriptor = parent.key === 'config' || parent.key === 'subject';
  return parent.level === 'manifest' && isDescriptor ? 'descriptor' : 'other';
}

function takeKey(frame: Frame, literal: string): void {
  frame.expectsKey = false;
  if (frame.keys === null) return;
  const key = decodeKey(literal);
  frame.key = key;
  if (frame.keys.has(key)) throw manifestInvalid(`the key ${quote(key)} stands twice in one ${noun(frame)}`);
  frame.keys.add(key);
  if (key.length > KNOWN_KEY_LENGTH_MAX) return;
  const known = KNOWN_KEYS[frame.level]?.get(fold(key));
  if (known !== undefined && known !== key) {
    throw manifestInvalid(`the key ${quote(key)} in a ${noun(frame)} must be written ${quote(known)}`);
  }
}

function noun(frame: Frame): string {
  return frame.level === 'annotations' ? 'set of annotations' : frame.level;
}

/** `"\u006cayers"` is `layers`. */
function decodeKey(literal: string): string {
  if (!literal.includes('\\')) return literal.slice(1, -1);
  try {
    return String(JSON.parse(literal));
  } catch {
    return literal;
  }
}

/** As Go's encoding/json compares keys, which also takes the long s (U+017F) and the Kelvin sign (U+212A) for letters. */
function fold(key: string): string {
  return key.toUpperCase().toLowerCase();
}

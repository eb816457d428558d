import type { ValueType } from './value-types.ts';

/** Another name of a key whose value is written otherwise there: its unit stands in its name. */
interface ConvertedName<T> {
  readonly path: string | null;
  readonly env: string | null;
  readonly type: ValueType<T>;
}

export interface Key<T> {
  /** The name in drift.toml. */
  readonly path: string;
  /** Other names in drift.toml. */
  readonly aliases: readonly string[];
  /** Names in the environment; an earlier one wins where `ranked`, else two that differ are a contradiction. */
  readonly env: readonly string[];
  readonly converted: readonly ConvertedName<T>[];
  /** Whether several environment names may be set at once, the first of them winning. */
  readonly ranked: boolean;
  readonly type: ValueType<T>;
  readonly fallback: () => T;
  /** The default in words, where it depends on the machine or on other keys. */
  readonly fallbackText: string | null;
  readonly doc: string;
  readonly secret: boolean;
  /** Whether SIGHUP takes a new value; else a restart does. */
  readonly reloads: boolean;
}

type KeySpec<T> = Pick<Key<T>, 'path' | 'env' | 'type' | 'fallback' | 'doc'> & Partial<Key<T>>;

export function key<T>(spec: KeySpec<T>): Key<T> {
  return {
    aliases: [],
    converted: [],
    ranked: false,
    fallbackText: null,
    secret: false,
    reloads: false,
    ...spec,
  };
}

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;
export const MINUTE = 60;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

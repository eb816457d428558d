import type { UploadId } from '../../blobs/blob-store.ts';
import { parseUploadId } from '../../blobs/upload-id.ts';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';

/** A path under `/v2`, parsed once: what is authorised is what is routed. */
export type Route =
  | { readonly kind: 'ping'; readonly repository: null }
  | { readonly kind: 'catalog'; readonly repository: null }
  | { readonly kind: 'discover'; readonly repository: null }
  | { readonly kind: 'repositoryDiscover'; readonly repository: RepositoryName }
  | { readonly kind: 'tags'; readonly repository: RepositoryName }
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: RepositoryName }
  | { readonly kind: 'upload'; readonly repository: RepositoryName; readonly uploadId: UploadId }
  | { readonly kind: 'referrers'; readonly repository: RepositoryName; readonly digest: Digest };

export type RouteKind = Route['kind'];
export type RouteOf<K extends RouteKind> = Extract<Route, { kind: K }>;

/**
 * A path with its parts still as text: the repository's name is good, the last part may not be. The guard decides on the
 * first before a caller hears about the second.
 */
export interface RawRoute {
  readonly kind: RouteKind;
  readonly repository: RepositoryName | null;
  readonly argument: string;
}

/** Segments of a path; a name has at most 255 characters, so this is beyond any that can be meant. */
const segmentsMax = 300;

/** Good paths that are remembered, and characters of one: the same images are asked for over and over. */
const REMEMBERED_MAX = 4096;
const REMEMBERED_LENGTH_MAX = 512;
const remembered = new Map<string, RawRoute>();

export function parsePath(path: string): RawRoute {
  const known = remembered.get(path);
  if (known !== undefined) return known;
  const raw = readPath(path);
  if (path.length <= REMEMBERED_LENGTH_MAX) {
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    // A copy: a slice would hold on to the whole target, with its query.
    remembered.set(Buffer.from(path, 'latin1').toString('latin1'), raw);
  }
  return raw;
}

/** Names may hold `blobs`, `manifests` and the like, so the words are looked for from the right. */
function readPath(path: string): RawRoute {
  const segments = splitPath(path);
  const at = (fromEnd: number): string | undefined => segments[segments.length - fromEnd];
  const last = at(1) ?? '';
  if (segments.length <= 1 && last === '') return { kind: 'ping', repository: null, argument: '' };
  if (segments.length === 1 && last === '_catalog')
    return { kind: 'catalog', repository: null, argument: '' };
  if (at(3) === '_oci' && at(2) === 'ext' && last === 'discover') {
    if (segments.length === 3) return { kind: 'discover', repository: null, argument: '' };
    return named('repositoryDiscover', segments.slice(0, -3), '');
  }
  // With and without the slash at the end: a redirect would lose the POST.
  if (at(2) === 'blobs' && last === 'uploads') return named('uploads', segments.slice(0, -2), '');
  if (at(3) === 'blobs' && at(2) === 'uploads') {
    return last === ''
      ? named('uploads', segments.slice(0, -3), '')
      : named('upload', segments.slice(0, -3), last);
  }
  const name = segments.slice(0, -2);
  if (at(2) === 'tags' && last === 'list') return named('tags', name, '');
  if (at(2) === 'manifests' && last !== '') return named('manifest', name, last);
  if (at(2) === 'blobs' && last !== '') return named('blob', name, last);
  if (at(2) === 'referrers' && last !== '') return named('referrers', name, last);
  throw new RegistryError('NOT_FOUND');
}

/** Reads the last part; throws what the spec has for a malformed one. */
export function parseArgument(raw: RawRoute): Route {
  const { kind, argument } = raw;
  if (kind === 'ping' || kind === 'catalog' || kind === 'discover') return { kind, repository: null };
  const repository = raw.repository;
  if (repository === null) throw new RegistryError('NAME_INVALID');
  switch (kind) {
    case 'repositoryDiscover':
    case 'tags':
    case 'uploads':
      return { kind, repository };
    case 'manifest': {
      const reference = parseReference(argument);
      if (reference !== null) return { kind, repository, reference };
      if (argument.includes(':')) throw malformedDigest(argument);
      throw new RegistryError('TAG_INVALID', null, { detail: { tag: argument.slice(0, 256) } });
    }
    case 'blob':
    case 'referrers': {
      const digest = parseDigest(argument);
      if (digest === null) throw malformedDigest(argument);
      return { kind, repository, digest };
    }
    case 'upload': {
      const uploadId = parseUploadId(argument);
      if (uploadId === null) throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
      return { kind, repository, uploadId };
    }
  }
}

function named(kind: RouteKind, segments: readonly string[], argument: string): RawRoute {
  const text = segments.join('/');
  const repository = parseRepositoryName(text);
  if (repository === null) {
    throw new RegistryError('NAME_INVALID', null, { detail: { name: text.slice(0, 256) } });
  }
  return { kind, repository, argument };
}

function malformedDigest(text: string): RegistryError {
  return new RegistryError(
    'DIGEST_INVALID',
    'not a digest that this registry knows (sha256 or sha512, lower-case hex)',
    {
      detail: { digest: text.slice(0, 256) },
    },
  );
}

/** The segments after `/v2/`, each decoded once. Whatever another reader could see as a different path is refused. */
function splitPath(path: string): readonly string[] {
  if (path === '/v2') return [];
  if (!path.startsWith('/v2/')) throw new RegistryError('NOT_FOUND');
  const segments = path.slice('/v2/'.length).split('/');
  if (segments.length > segmentsMax) throw new RegistryError('NOT_FOUND');
  return segments.map(decodeSegment);
}

function decodeSegment(segment: string): string {
  let text = segment;
  if (segment.includes('%')) {
    try {
      text = decodeURIComponent(segment);
    } catch {
      throw malformedPath();
    }
  }
  if (text === '.' || text === '..' || !/^[\x21-\x2e\x30-\x5b\x5d-\x7e]*$/.test(text)) throw malformedPath();
  return text;
}

function malformedPath(): RegistryError {
  return new RegistryError('REQUEST_INVALID', 'the path holds characters that no name, tag or digest has');
}

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** Known, and refused: distribution 3 and containerd 2 dropped schema 1, and the artifact manifest never left its rc. */
export const DOCKER_SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
export const DOCKER_SCHEMA1_SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
export const OCI_ARTIFACT_MANIFEST = 'application/vnd.oci.artifact.manifest.v1+json';

export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_EMPTY = 'application/vnd.oci.empty.v1+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
export const DOCKER_PLUGIN_CONFIG = 'application/vnd.docker.plugin.v1+json';

export const DOCKER_FOREIGN_LAYER = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
const DOCKER_FOREIGN_PREFIX = 'application/vnd.docker.image.rootfs.foreign.diff.tar';
const OCI_NONDISTRIBUTABLE_PREFIX = 'application/vnd.oci.image.layer.nondistributable.v1.tar';

/** Longest media type: RFC 6838, 4.2, allows 127 characters on each side of the slash. */
export const MEDIA_TYPE_LENGTH_MAX = 255;
const MEDIA_TYPE = /^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/;

export type ManifestMediaType =
  | typeof OCI_MANIFEST
  | typeof OCI_INDEX
  | typeof DOCKER_MANIFEST
  | typeof DOCKER_MANIFEST_LIST;

/** The kinds of manifest that this registry stores: an image has a config and layers, an index lists manifests. */
const MANIFEST_KINDS: ReadonlyMap<string, 'image' | 'index'> = new Map([
  [OCI_MANIFEST, 'image'],
  [DOCKER_MANIFEST, 'image'],
  [OCI_INDEX, 'index'],
  [DOCKER_MANIFEST_LIST, 'index'],
]);

export function isManifestMediaType(mediaType: string): mediaType is ManifestMediaType {
  return MANIFEST_KINDS.has(mediaType);
}

export function isIndexMediaType(mediaType: string): boolean {
  return MANIFEST_KINDS.get(mediaType) === 'index';
}

export function isSchema1(mediaType: string): boolean {
  return mediaType === DOCKER_SCHEMA1 || mediaType === DOCKER_SCHEMA1_SIGNED;
}

/** A layer that its licence keeps out of registries: clients fetch it elsewhere, and need not push it. */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.startsWith(DOCKER_FOREIGN_PREFIX) || mediaType.startsWith(OCI_NONDISTRIBUTABLE_PREFIX);
}

/**
 * Whether the text can stand in a header and a JSON answer as a media type. Deliberately wider than RFC 6838, 4.2: artifacts
 * use their own, and some of them are sloppy.
 */
export function isMediaType(text: string): boolean {
  return text.length <= MEDIA_TYPE_LENGTH_MAX && MEDIA_TYPE.test(text);
}

/** The media type of a `Content-Type`, in lower case, without its parameters. */
export function withoutParameters(contentType: string): string {
  const semicolon = contentType.indexOf(';');
  return (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
}

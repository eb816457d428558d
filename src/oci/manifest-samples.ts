import { digestOf } from './digest.ts';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';

/** Small, valid manifests as JSON values, for tests to vary. */

type Json = Record<string, unknown>;

const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** The descriptor of these characters (ASCII). */
export function sampleDescriptor(text: string, mediaType = LAYER): Json {
  return { mediaType, digest: digestOf('sha256', new TextEncoder().encode(text)), size: text.length };
}

export function sampleImage(fields: Json = {}): Json {
  const config = sampleDescriptor('config', OCI_CONFIG);
  return { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [sampleDescriptor('one')], ...fields };
}

export function sampleIndex(fields: Json = {}): Json {
  const manifests = [sampleDescriptor('child', OCI_MANIFEST)];
  return { schemaVersion: 2, mediaType: OCI_INDEX, manifests, ...fields };
}

import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

export interface LayoutImage {
  readonly directory: string;
  /** `sha256:…` of what `index.json` names. */
  readonly digest: string;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
  annotations?: Record<string, string>;
}

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** Writes an OCI image layout with random content: an image, or an index of one image per architecture. */
export function writeLayout(
  directory: string,
  options: {
    readonly architectures?: readonly string[];
    readonly layers?: number;
    readonly tag?: string;
  } = {},
): LayoutImage {
  mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true });
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const architectures = options.architectures ?? ['amd64'];
  const images = architectures.map((architecture) =>
    writeImage(directory, architecture, options.layers ?? 2),
  );
  const only = images[0];
  if (only === undefined) throw new Error('an index needs an architecture');
  const top =
    options.architectures === undefined
      ? only
      : put(directory, INDEX, { schemaVersion: 2, mediaType: INDEX, manifests: images });
  const { mediaType, digest, size } = top;
  const annotations = { 'org.opencontainers.image.ref.name': options.tag ?? 'latest' };
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [{ mediaType, digest, size, annotations }],
    }),
  );
  return { directory, digest };
}

function writeImage(directory: string, architecture: string, layerCount: number): Descriptor {
  const tars = Array.from({ length: layerCount }, (_, i) =>
    tarOf(`${architecture}-${i}.bin`, randomBytes(70_000 + i)),
  );
  const layers = tars.map((tar) =>
    putBytes(directory, 'application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(tar)),
  );
  const config = put(directory, 'application/vnd.oci.image.config.v1+json', {
    architecture,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => sha256(tar)) },
  });
  const manifest = put(directory, IMAGE, { schemaVersion: 2, mediaType: IMAGE, config, layers });
  return { ...manifest, platform: { os: 'linux', architecture } };
}

/** A tar archive with one file: enough for clients that unpack what they pull. */
export function tarOf(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\0' + '00', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)]);
}

/** Every blob of a layout by digest, each checked against its name. */
export function readLayoutBlobs(directory: string): ReadonlyMap<string, Buffer> {
  const folder = join(directory, 'blobs', 'sha256');
  const blobs = new Map<string, Buffer>();
  for (const hex of readdirSync(folder)) {
    const bytes = readFileSync(join(folder, hex));
    if (sha256(bytes) !== `sha256:${hex}`) throw new Error(`${hex} holds other bytes than its name says`);
    blobs.set(`sha256:${hex}`, bytes);
  }
  return blobs;
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function put(directory: string, mediaType: string, value: unknown): Descriptor {
  return putBytes(directory, mediaType, Buffer.from(JSON.stringify(value)));
}

function putBytes(directory: string, mediaType: string, bytes: Buffer): Descriptor {
  const digest = sha256(bytes);
  writeFileSync(join(directory, 'blobs', 'sha256', digest.slice('sha256:'.length)), bytes);
  return { mediaType, digest, size: bytes.length };
}

import type { SeededRandom } from '../crash/seeded-random.ts';
import { DIGESTS } from './hostile-values.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

export const CONTENT_TYPES: readonly string[] = [
  IMAGE,
  IMAGE,
  INDEX,
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  'application/vnd.oci.artifact.manifest.v1+json',
  'application/json',
  `${IMAGE}; charset=utf-16`,
  `${IMAGE},${INDEX}`,
  'application/octet-stream',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  '',
];

const VALUES: readonly string[] = [
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '1e999',
  '1e-999',
  '9007199254740993',
  '0.1',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '[]',
  '{}',
  '[[]]',
  '"__proto__"',
  '[null]',
  '"../../x"',
  `"${'x'.repeat(600)}"`,
  '{"__proto__":{"a":1}}',
  '2',
  '"2"',
  'NaN',
  '\x80',
];

const BROKEN: readonly string[] = [
  '',
  '{',
  '}',
  '[]',
  'null',
  '"x"',
  '{"schemaVersion":2',
  '\xef\xbb\xbf{}',
  '\xff\xfe{\x00}\x00',
  '{"a":1,}',
  '// x\n{}',
  '['.repeat(3000),
  '{"a":'.repeat(2000),
  `{"a":"${'\\u0000'.repeat(300)}"}`,
  '{"schemaVersion":2}{"schemaVersion":2}',
  '{}\x00',
];

export function hostileBody(random: SeededRandom): string {
  const kind = random.integer(10);
  if (kind < 5) return manifest(random);
  if (kind < 6) return random.pick(BROKEN);
  if (kind < 7) return form(random);
  if (kind < 8) return random.bytes(8 + random.integer(500)).toString('latin1');
  return random.pick(['', 'hello', 'x'.repeat(2000)]);
}

/** A good manifest with up to three fields changed, doubled, dropped or moved. */
function manifest(random: SeededRandom): string {
  const isImage = random.integer(3) > 0;
  const fields: [string, string][] = [
    ['schemaVersion', '2'],
    ['mediaType', JSON.stringify(isImage ? IMAGE : INDEX)],
  ];
  if (isImage) {
    fields.push(['config', descriptor(random, 'application/vnd.oci.image.config.v1+json')]);
    fields.push(['layers', list(random, 'application/vnd.oci.image.layer.v1.tar')]);
  } else fields.push(['manifests', list(random, IMAGE)]);
  if (random.integer(3) === 0) fields.push(['subject', descriptor(random, IMAGE)]);
  if (random.integer(3) === 0) fields.push(['artifactType', random.pick(['"a/b"', '"x"', ...VALUES])]);
  if (random.integer(3) === 0) fields.push(['annotations', random.pick(['{"a":"b"}', '{"a":1}', ...VALUES])]);
  change(random, fields);
  return `{${fields.map(([name, value]) => `"${name}":${value}`).join(',')}}`;
}

function list(random: SeededRandom, mediaType: string): string {
  const count = random.pick([0, 1, 1, 2, 5, 60]);
  return `[${Array.from({ length: count }, () => descriptor(random, mediaType)).join(',')}]`;
}

function descriptor(random: SeededRandom, mediaType: string): string {
  const good = random.integer(3) > 0;
  const fields: [string, string][] = [
    ['mediaType', JSON.stringify(mediaType)],
    ['digest', JSON.stringify(good ? '{blob}' : random.pick(DIGESTS))],
    ['size', good ? '{blobSize}' : random.pick(VALUES)],
  ];
  if (random.integer(6) === 0)
    fields.push(['urls', random.pick(['["http://evil/"]', '["file:///x"]', ...VALUES])]);
  if (random.integer(6) === 0) fields.push(['data', random.pick(['"aGk="', '"!!"', ...VALUES])]);
  if (random.integer(6) === 0) fields.push(['platform', random.pick(VALUES)]);
  if (!good) change(random, fields);
  return `{${fields.map(([name, value]) => `"${name}":${value}`).join(',')}}`;
}

function change(random: SeededRandom, fields: [string, string][]): void {
  for (let left = random.integer(4); left > 0 && fields.length > 0; left--) {
    const at = random.integer(fields.length);
    const [name, value] = fields[at] ?? ['', ''];
    const how = random.integer(5);
    if (how === 0) fields[at] = [name, random.pick(VALUES)];
    else if (how === 1) fields.push([name, random.pick([value, ...VALUES])]);
    else if (how === 2) fields.splice(at, 1);
    else if (how === 3) fields[at] = [name.toUpperCase(), value];
    else
      fields.push([
        random.pick(['__proto__', 'manifests', 'layers', 'config', 'subject', 'fsLayers']),
        value,
      ]);
  }
}

function form(random: SeededRandom): string {
  const keys = [
    'grant_type',
    'service',
    'client_id',
    'scope',
    'username',
    'password',
    'refresh_token',
    'access_type',
    'x',
  ];
  const values = [
    'password',
    'refresh_token',
    'drift-registry',
    'repository:abuse/keep:pull',
    '',
    '%00',
    '%ff',
    'x',
    '{token}',
  ];
  return Array.from({ length: random.integer(7) }, () => `${random.pick(keys)}=${random.pick(values)}`).join(
    '&',
  );
}

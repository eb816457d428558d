import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digestOf } from './digest.ts';
import { RegistryError } from './error-codes.ts';
import type { ParsedManifest } from './manifest.ts';
import { parseManifest } from './manifest.ts';
import {
  sampleDescriptor as descriptor,
  sampleImage as image,
  sampleIndex as index,
} from './manifest-samples.ts';
import {
  DOCKER_CONFIG,
  DOCKER_FOREIGN_LAYER,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  DOCKER_PLUGIN_CONFIG,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
  OCI_ARTIFACT_MANIFEST,
  OCI_CONFIG,
  OCI_EMPTY,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-types.ts';

const LIMITS = { bytesMax: 4 * 1024 * 1024, descriptorsMax: 10_000 };

type Json = Record<string, unknown>;

const bytesOf = (text: string) => new TextEncoder().encode(text);

function parse(
  body: Json | string | Uint8Array,
  contentType: string | null = null,
  limits = LIMITS,
): ParsedManifest {
  const bytes =
    body instanceof Uint8Array ? body : bytesOf(typeof body === 'string' ? body : JSON.stringify(body));
  return parseManifest({ bytes, contentType, limits });
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof RegistryError, String(error));
    assert.equal(error.code, 'MANIFEST_INVALID');
    return error.message;
  }
  return assert.fail('was accepted');
}

/** Replaces text in the JSON of a manifest: for what `JSON.stringify` cannot write. */
function edited(body: Json, from: string, to: string): string {
  const text = JSON.stringify(body);
  assert.ok(text.includes(from));
  return text.replace(from, to);
}

describe('parseManifest, what clients push', () => {
  test('parseManifest, an image manifest, gives config and layers', () => {
    const parsed = parse(
      image({ layers: [descriptor('one'), descriptor('two')], annotations: { a: 'b' } }),
      OCI_MANIFEST,
    );
    assert.equal(parsed.kind, 'image');
    assert.equal(parsed.mediaType, OCI_MANIFEST);
    assert.equal(parsed.artifactType, OCI_CONFIG);
    assert.equal(parsed.subject, null);
    assert.deepEqual({ ...parsed.annotations }, { a: 'b' });
    assert.deepEqual(
      parsed.references.map(({ kind, position, sizeBytes }) => [kind, position, sizeBytes]),
      [
        ['config', 0, 6],
        ['layer', 0, 3],
        ['layer', 1, 3],
      ],
    );
    assert.equal(parsed.references[1]?.target, digestOf('sha256', bytesOf('one')));
  });

  test('parseManifest, an index, gives its entries and no artifact type of its own', () => {
    const parsed = parse(
      index({ manifests: [descriptor('a', OCI_MANIFEST), descriptor('b', OCI_INDEX)] }),
      OCI_INDEX,
    );
    assert.equal(parsed.kind, 'index');
    assert.equal(parsed.artifactType, null);
    assert.deepEqual(
      parsed.references.map(({ kind, position }) => [kind, position]),
      [
        ['child', 0],
        ['child', 1],
      ],
    );
  });

  test('parseManifest, Docker types, are images and lists', () => {
    const config = descriptor('config', DOCKER_CONFIG);
    const plugin = descriptor('config', DOCKER_PLUGIN_CONFIG);
    assert.equal(parse(image({ mediaType: DOCKER_MANIFEST, config }), DOCKER_MANIFEST).kind, 'image');
    assert.equal(
      parse(image({ mediaType: DOCKER_MANIFEST, config: plugin })).artifactType,
      DOCKER_PLUGIN_CONFIG,
    );
    assert.equal(parse(index({ mediaType: DOCKER_MANIFEST_LIST }), DOCKER_MANIFEST_LIST).kind, 'index');
  });

  test('parseManifest, a subject, is parsed and referenced once', () => {
    const subject: Json = {
      ...descriptor('subject', OCI_MANIFEST),
      artifactType: 'application/x',
      annotations: null,
    };
    for (const body of [image({ subject }), index({ subject })]) {
      const parsed = parse(body);
      assert.equal(parsed.subject?.digest, subject['digest']);
      assert.equal(parsed.subject?.artifactType, 'application/x');
      const references = parsed.references.filter(({ kind }) => kind === 'subject');
      assert.deepEqual(
        references.map(({ target, position }) => [target, position]),
        [[subject['digest'], 0]],
      );
    }
  });

  test('parseManifest, an artifact type, wins over the media type of the config', () => {
    assert.equal(parse(image({ artifactType: 'application/x' })).artifactType, 'application/x');
    assert.equal(parse(index({ artifactType: 'application/x' })).artifactType, 'application/x');
    const empty = descriptor('{}', OCI_EMPTY);
    const artifact = image({ artifactType: 'application/x', config: empty, layers: [empty] });
    assert.equal(parse(artifact).artifactType, 'application/x');
    assert.equal(parse(image({ artifactType: '' })).artifactType, OCI_CONFIG);
    assert.equal(parse(index({ artifactType: null })).artifactType, null);
  });

  test('parseManifest, null and absent optional fields, count as none', () => {
    const layer = {
      ...descriptor('one'),
      urls: null,
      annotations: null,
      data: null,
      artifactType: null,
      platform: null,
    };
    const nulls = { subject: null, annotations: null, artifactType: null, manifests: null };
    assert.equal(parse(image({ ...nulls, layers: [layer] })).references.length, 2);
    assert.equal(parse(image({ layers: null })).references.length, 1);
    assert.equal(parse(image({ layers: [] })).references.length, 1);
    assert.equal(
      parse(index({ manifests: null, config: null, layers: null }), OCI_INDEX).references.length,
      0,
    );
    assert.equal(parse(index({ manifests: [] })).references.length, 0);
    assert.equal(parse(image({ mediaType: null }), OCI_MANIFEST).mediaType, OCI_MANIFEST);
  });

  test('parseManifest, unknown fields and custom media types, are accepted', () => {
    const layer = {
      ...descriptor('one', 'text/plain; x=1'),
      gaming_assets: true,
      nested: { Digest: 1, digest: 2 },
    };
    const parsed = parse(
      image({ layers: [layer], config: descriptor('c', 'foo/bar'), extension: { Layers: [{}] } }),
    );
    assert.equal(parsed.artifactType, 'foo/bar');
    assert.equal(parsed.references[1]?.mediaType, 'text/plain; x=1');
  });

  test('parseManifest, sha512 digests, are read', () => {
    const digest = digestOf('sha512', bytesOf('one'));
    assert.equal(parse(image({ layers: [{ ...descriptor('one'), digest }] })).references[1]?.target, digest);
  });

  test('parseManifest, layers with addresses or a foreign media type, need not be here', () => {
    const layers = [
      descriptor('a'),
      { ...descriptor('b'), urls: ['https://example.com/b'] },
      descriptor('c', DOCKER_FOREIGN_LAYER),
      descriptor('d', 'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd'),
      { ...descriptor('e'), urls: [] },
      { ...descriptor('f'), urls: Array(100).fill('https://example.com/f') },
    ];
    const kinds = parse(image({ layers })).references.map(({ kind, position }) => `${kind} ${position}`);
    assert.deepEqual(kinds, [
      'config 0',
      'layer 0',
      'foreign 1',
      'foreign 2',
      'foreign 3',
      'layer 4',
      'foreign 5',
    ]);
  });

  test('parseManifest, an older BuildKit cache, keeps its layers as entries of the index', () => {
    const cache = descriptor('cache', 'application/vnd.buildkit.cacheconfig.v0');
    const kinds = parse(index({ manifests: [descriptor('layer'), cache] }), OCI_INDEX).references.map(
      ({ kind }) => kind,
    );
    assert.deepEqual(kinds, ['child', 'child']);
  });

  test('parseManifest, data of a descriptor, must be its content', () => {
    const withData = (data: unknown) => image({ layers: [{ ...descriptor('one'), data }] });
    assert.equal(parse(withData(btoa('one'))).references.length, 2);
    assert.match(
      refusal(() => parse(withData(btoa('two')))),
      /layers\[0\]\.data does not have the digest/,
    );
    assert.match(
      refusal(() => parse(withData(btoa('three')))),
      /holds 5 bytes, but the size is 3/,
    );
    assert.match(
      refusal(() => parse(withData('b25l\n'))),
      /not padded base64/,
    );
    assert.match(
      refusal(() => parse(withData('b25'))),
      /not padded base64/,
    );
    assert.match(
      refusal(() => parse(withData('-_-_'))),
      /not padded base64/,
    );
    assert.match(
      refusal(() => parse(withData(1))),
      /not a string/,
    );
    const large = 'x'.repeat(65_536);
    assert.equal(
      parse(image({ layers: [{ ...descriptor(large), data: btoa(large) }] })).references.length,
      2,
    );
    const larger = 'x'.repeat(65_539);
    const refused = image({ layers: [{ ...descriptor(larger), data: btoa(larger) }] });
    assert.match(
      refusal(() => parse(refused)),
      /holds more than/,
    );
  });
});

describe('parseManifest, the media type', () => {
  test('parseManifest, a Content-Type with parameters in any case, is compared without them', () => {
    assert.equal(parse(image(), `${OCI_MANIFEST.toUpperCase()} ; charset=utf-8`).mediaType, OCI_MANIFEST);
  });

  test('parseManifest, no Content-Type, takes the type of the body or detects it', () => {
    assert.equal(parse(image({ mediaType: DOCKER_MANIFEST })).mediaType, DOCKER_MANIFEST);
    assert.equal(parse(image({ mediaType: undefined })).mediaType, OCI_MANIFEST);
    assert.equal(parse(index({ mediaType: undefined }), '').mediaType, OCI_INDEX);
    assert.match(
      refusal(() => parse({ schemaVersion: 2 })),
      /no media type, no config and no manifests/,
    );
  });

  test('parseManifest, a Content-Type of parameters alone, counts as none', () => {
    assert.equal(parse(image({ mediaType: undefined }), '; charset=utf-8').mediaType, OCI_MANIFEST);
  });

  test('parseManifest, the media types as the specifications write them, are known', () => {
    const types = {
      'application/vnd.oci.image.manifest.v1+json': image,
      'application/vnd.oci.image.index.v1+json': index,
      'application/vnd.docker.distribution.manifest.v2+json': image,
      'application/vnd.docker.distribution.manifest.list.v2+json': index,
    };
    for (const [mediaType, sample] of Object.entries(types)) {
      assert.equal(parse(sample({ mediaType })).mediaType, mediaType);
    }
  });

  test('parseManifest, a media type as long as allowed, is kept', () => {
    const mediaType = `a/${'b'.repeat(253)}`;
    assert.equal(
      parse(image({ layers: [descriptor('one', mediaType)] })).references[1]?.mediaType,
      mediaType,
    );
  });

  test('parseManifest, a Content-Type that is not the mediaType, is refused', () => {
    assert.match(
      refusal(() => parse(image(), OCI_INDEX)),
      /the Content-Type is .*index.* but mediaType is .*manifest/,
    );
    assert.match(
      refusal(() => parse(image(), DOCKER_MANIFEST)),
      /but mediaType is/,
    );
    assert.match(
      refusal(() => parse(image({ mediaType: OCI_MANIFEST.toUpperCase() }), OCI_MANIFEST)),
      /but mediaType is/,
    );
  });

  test('parseManifest, both forms in one body, is refused', () => {
    assert.match(
      refusal(() => parse(image({ manifests: [] }))),
      /both manifests and config/,
    );
    assert.match(
      refusal(() => parse(index({ layers: [] }))),
      /both manifests and layers/,
    );
    assert.match(
      refusal(() => parse(index({ mediaType: OCI_MANIFEST }))),
      /has no manifests/,
    );
    assert.match(
      refusal(() => parse(image({ mediaType: OCI_INDEX }))),
      /has no config/,
    );
    assert.match(
      refusal(() => parse({ schemaVersion: 2, mediaType: OCI_INDEX, layers: [] })),
      /has no layers/,
    );
  });

  test('parseManifest, a type that is no manifest, is refused', () => {
    for (const type of ['application/json', 'text/html', '__proto__', 'constructor']) {
      assert.match(
        refusal(() => parse(image({ mediaType: undefined }), type)),
        /is not the media type of a manifest/,
      );
    }
    assert.match(
      refusal(() => parse(image({ mediaType: 'a\nb' }))),
      /^mediaType is not a media type/,
    );
  });

  test('parseManifest, schema 1 and the artifact manifest, are refused by name', () => {
    const schema1 = { schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [] };
    for (const type of [null, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED]) {
      assert.match(
        refusal(() => parse(schema1, type)),
        /schema 1 are not supported/,
      );
    }
    for (const mediaType of [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED]) {
      assert.match(
        refusal(() => parse(image({ mediaType }))),
        /schema 1 are not supported/,
      );
    }
    const artifact = { mediaType: OCI_ARTIFACT_MANIFEST, artifactType: 'a/b', blobs: [] };
    for (const type of [null, OCI_ARTIFACT_MANIFEST]) {
      assert.match(
        refusal(() => parse(artifact, type)),
        /OCI artifact manifests never/,
      );
    }
  });
});

describe('parseManifest, malformed bodies', () => {
  test('parseManifest, text that is no JSON object in UTF-8, is refused', () => {
    const cases: [string | Uint8Array, RegExp][] = [
      ['', /is empty/],
      [new Uint8Array([0x7b, 0xff, 0x7d]), /not UTF-8/],
      [new Uint8Array([0xed, 0xa0, 0x80]), /not UTF-8/],
      [`\uFEFF${JSON.stringify(image())}`, /byte order mark/],
      ['\0', /not JSON/],
      ['{"a":"\0"}', /not JSON/],
      ['{"a":1,}', /not JSON: .+ position 7/],
      ['{"a":"\\', /not JSON/],
      ['{"\\x":1}', /not JSON/],
      ['{"a', /not JSON/],
      ["{'a':1}", /not JSON/],
      ['{"a":NaN}', /not JSON/],
      ['{}{}', /not JSON/],
      ['}]}]', /not JSON/],
      ['null', /not a JSON object/],
      ['[]', /not a JSON object/],
      ['"a"', /not a JSON object/],
      ['1', /not a JSON object/],
    ];
    for (const [body, sentence] of cases)
      assert.match(
        refusal(() => parse(body, OCI_MANIFEST)),
        sentence,
      );
  });

  test('parseManifest, a schemaVersion other than 2, is refused', () => {
    for (const schemaVersion of [0, 3, '2', 2.5, [2], true]) {
      assert.match(
        refusal(() => parse(image({ schemaVersion }))),
        /schemaVersion is not 2/,
      );
    }
    assert.match(
      refusal(() => parse(image({ schemaVersion: undefined }))),
      /schemaVersion is missing/,
    );
    assert.match(
      refusal(() => parse(image({ schemaVersion: null }))),
      /schemaVersion is missing/,
    );
  });

  test('parseManifest, fields of the wrong kind, are named with their place', () => {
    const one = descriptor('one');
    const cases: [Json, RegExp][] = [
      [image({ config: undefined }), /^config is missing/],
      [image({ config: [] }), /^config is not an object/],
      [image({ config: 'x' }), /^config is not an object/],
      [image({ layers: {} }), /^layers is not a list/],
      [index({ manifests: 'x' }), /^manifests is not a list/],
      [image({ layers: [one, null] }), /^layers\[1\] is not an object/],
      [image({ layers: [[one]] }), /^layers\[0\] is not an object/],
      [image({ layers: [{ ...one, mediaType: undefined }] }), /^layers\[0\]\.mediaType is missing/],
      [image({ layers: [{ ...one, mediaType: '' }] }), /^layers\[0\]\.mediaType is missing/],
      [image({ layers: [{ ...one, mediaType: 1 }] }), /^layers\[0\]\.mediaType is not a string/],
      [image({ layers: [{ ...one, mediaType: 'a\r\nb' }] }), /^layers\[0\]\.mediaType is not a media type/],
      [
        image({ layers: [{ ...one, mediaType: 'a'.repeat(256) }] }),
        /^layers\[0\]\.mediaType is not a media type/,
      ],
      [image({ layers: [{ ...one, mediaType: 'a/\ud800' }] }), /^layers\[0\]\.mediaType is not a media type/],
      [image({ layers: [{ ...one, mediaType: ' a/b' }] }), /^layers\[0\]\.mediaType is not a media type/],
      [image({ layers: [{ ...one, mediaType: 'a/b ' }] }), /^layers\[0\]\.mediaType is not a media type/],
      [image({ layers: [{ ...one, mediaType: 'a/b;  c' }] }), /^layers\[0\]\.mediaType is not a media type/],
      [image({ layers: [{ ...one, artifactType: 1 }] }), /^layers\[0\]\.artifactType is not a string/],
      [image({ layers: [{ ...one, digest: undefined }] }), /^layers\[0\]\.digest is missing/],
      [image({ layers: [{ ...one, digest: null }] }), /^layers\[0\]\.digest is missing/],
      [image({ layers: [{ ...one, digest: {} }] }), /^layers\[0\]\.digest is not a string/],
      [image({ layers: [{ ...one, digest: 'sha256:../../x' }] }), /^layers\[0\]\.digest is not a sha256/],
      [image({ layers: [{ ...one, urls: {} }] }), /^layers\[0\]\.urls is not a list/],
      [image({ layers: [{ ...one, urls: [1] }] }), /^layers\[0\]\.urls\[0\] is not a string/],
      [image({ layers: [{ ...one, urls: Array(101).fill('') }] }), /^layers\[0\]\.urls has more/],
      [image({ layers: [{ ...one, annotations: [] }] }), /^layers\[0\]\.annotations is not an object/],
      [
        image({ layers: [{ ...one, annotations: { a: 1 } }] }),
        /^layers\[0\]\.annotations\["a"\] is not a string/,
      ],
      [image({ annotations: { a: null } }), /^annotations\["a"\] is not a string/],
      [image({ annotations: 'x' }), /^annotations is not an object/],
      [image({ artifactType: {} }), /^artifactType is not a string/],
      [image({ subject: 'sha256:x' }), /^subject is not an object/],
      [index({ subject: { mediaType: OCI_MANIFEST } }), /^subject\.digest is missing/],
      [index({ manifests: [{}] }), /^manifests\[0\]\.mediaType is missing/],
    ];
    for (const [body, sentence] of cases)
      assert.match(
        refusal(() => parse(body)),
        sentence,
      );
  });

  test('parseManifest, sizes that are no whole number a client can hold, are refused', () => {
    for (const size of [
      '-1',
      '-0',
      '1.5',
      '1e400',
      '9007199254740992',
      '9007199254740993',
      '1'.repeat(400),
    ]) {
      const body = edited(image({ layers: [{ ...descriptor('one'), size: 7777 }] }), '7777', size);
      assert.match(
        refusal(() => parse(body)),
        /^layers\[0\]\.size is not a whole number/,
        size,
      );
    }
    assert.match(
      refusal(() => parse(image({ layers: [{ ...descriptor('one'), size: '3' }] }))),
      /size is not a number/,
    );
    assert.match(
      refusal(() => parse(image({ layers: [{ ...descriptor('one'), size: null }] }))),
      /size is missing/,
    );
    const empty = image({ layers: [{ ...descriptor(''), size: 0 }] });
    assert.equal(parse(empty).references[1]?.sizeBytes, 0);
    const largest = edited(
      image({ layers: [{ ...descriptor('one'), size: 7777 }] }),
      '7777',
      '9007199254740991',
    );
    assert.equal(parse(largest).references[1]?.sizeBytes, Number.MAX_SAFE_INTEGER);
  });
});

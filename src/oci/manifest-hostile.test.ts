import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from './error-codes.ts';
import type { ParsedManifest } from './manifest.ts';
import { parseManifest } from './manifest.ts';
import {
  sampleDescriptor as descriptor,
  sampleImage as image,
  sampleIndex as index,
} from './manifest-samples.ts';
import { OCI_CONFIG, OCI_MANIFEST } from './media-types.ts';

const LIMITS = { bytesMax: 4 * 1024 * 1024, descriptorsMax: 10_000 };

type Json = Record<string, unknown>;

const bytesOf = (text: string) => new TextEncoder().encode(text);

const MANIFEST_KEYS = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
];

const CONFIG = descriptor('config', OCI_CONFIG);

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

describe('parseManifest, keys that clients would read differently', () => {
  test('parseManifest, a key that stands twice, is refused at the levels we read', () => {
    const cases: [Json, string, string][] = [
      [image(), '"layers":', '"layers":[],"layers":'],
      [image(), '"layers":', '"layers":[],"\\u006cayers":'],
      [image({ x: 1 }), '"x":1', '"x":1,"x":1'],
      [image({ subject: { ...descriptor('s'), x: 1 } }), '"x":1', '"x":1,"digest":"sha256:0"'],
      [image({ layers: [{ ...descriptor('one'), x: 1 }] }), '"x":1', '"x":1,"size":0'],
      [image({ config: { ...CONFIG, x: 1 } }), '"x":1', '"x":1,"size":0'],
      [index({ manifests: [{ ...descriptor('c'), x: 1 }] }), '"x":1', '"x":1,"size":0'],
      [image({ annotations: { a: 'b' } }), '"a":"b"', '"a":"b","a":"c"'],
      [image({ layers: [{ ...descriptor('one'), annotations: { a: 'b' } }] }), '"a":"b"', '"a":"b","a":"c"'],
      [image({ x: 1 }), '"x":1', '"__proto__":1,"__proto__":2'],
    ];
    for (const [body, from, to] of cases)
      assert.match(
        refusal(() => parse(edited(body, from, to))),
        /stands twice/,
        to,
      );
    assert.equal(
      refusal(() => parse(edited(image({ x: 1 }), '"x":1', '"x":1,"x":1'))),
      'the key "x" stands twice in one manifest',
    );
    assert.equal(
      refusal(() => parse(edited(image({ annotations: { a: 'b' } }), '"a":"b"', '"a":"b","a":"c"'))),
      'the key "a" stands twice in one set of annotations',
    );
  });

  test('parseManifest, a known key in another case, is refused at the levels we read', () => {
    const cases: [Json, string, string][] = [
      [image({ Layers: [] }), 'Layers', 'layers'],
      [image({ LAYERS: [] }), 'LAYERS', 'layers'],
      [image({ Manifests: [] }), 'Manifests', 'manifests'],
      [image({ mediatype: 'x' }), 'mediatype', 'mediaType'],
      [image({ '\u017fubject': {} }), '\u017fubject', 'subject'],
      [image({ Subject: null }), 'Subject', 'subject'],
      [image({ layers: [{ ...descriptor('one'), Digest: 'x' }] }), 'Digest', 'digest'],
      [image({ config: { ...CONFIG, URLs: [] } }), 'URLs', 'urls'],
      [index({ manifests: [{ ...descriptor('c'), MediaType: 'x' }] }), 'MediaType', 'mediaType'],
    ];
    for (const [body, key, known] of cases) {
      assert.ok(refusal(() => parse(body)).includes(`the key "${key}" in a`), key);
      assert.ok(refusal(() => parse(body)).endsWith(`must be written "${known}"`), known);
    }
    const escaped = edited(image({ x: [] }), '"x"', '"\\u004cayers"');
    assert.match(
      refusal(() => parse(escaped)),
      /must be written "layers"/,
    );
  });

  test('parseManifest, every key we read, is refused in capitals where it means something', () => {
    const inDescriptor = [
      'mediaType',
      'digest',
      'size',
      'urls',
      'annotations',
      'data',
      'artifactType',
      'platform',
    ];
    for (const key of MANIFEST_KEYS) {
      assert.equal(
        refusal(() => parse(image({ [key.toUpperCase()]: null }))),
        `the key "${key.toUpperCase()}" in a manifest must be written "${key}"`,
      );
    }
    for (const key of inDescriptor) {
      assert.equal(
        refusal(() => parse(image({ config: { ...CONFIG, [key.toUpperCase()]: null } }))),
        `the key "${key.toUpperCase()}" in a descriptor must be written "${key}"`,
      );
    }
  });

  test('parseManifest, keys elsewhere and names of annotations, are free', () => {
    const free = { Layers: 1, Digest: 2, layers: 3, digest: 4 };
    const annotations = { Layers: 'a', layers: 'b', digest: 'c', Digest: 'd' };
    const layer = { ...descriptor('one'), platform: free, annotations, config: free, layers: [free] };
    assert.equal(parse(image({ extension: [free], annotations, layers: [layer] })).references.length, 2);
    for (const x of [{ a: 1 }, { y: { a: 1 } }, [{ a: 1 }]]) {
      assert.equal(parse(edited(image({ x }), '"a":1', '"a":1,"a":2')).references.length, 2);
    }
    assert.equal(
      parse(image({ x: '{"layers":1,"layers":2', y: 'layers', z: ['layers', 'layers'] })).references.length,
      2,
    );
  });

  test('parseManifest, names that mean something to JavaScript, are only names', () => {
    const body = edited(
      image({ annotations: { x: 'y' } }),
      '"x":"y"',
      '"__proto__":"a","constructor":"b","toString":"c"',
    );
    const { annotations } = parse(body.replace('{', '{"__proto__":{"config":null,"polluted":1},'));
    assert.deepEqual(Object.entries(annotations ?? {}), [
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['toString', 'c'],
    ]);
    assert.equal(Object.getPrototypeOf(annotations), null);
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  test('parseManifest, lone surrogates and NUL in annotations, survive as JSON', () => {
    const { annotations } = parse(edited(image({ annotations: { x: 'y' } }), '"y"', '"\\ud800\\u0000"'));
    assert.equal(annotations?.['x'], '\ud800\0');
    assert.equal(JSON.stringify(annotations), '{"x":"\\ud800\\u0000"}');
  });
});

describe('parseManifest, bounds', () => {
  test('parseManifest, one byte more than allowed, is too large', () => {
    const body = JSON.stringify(image());
    assert.equal(parse(body, null, { ...LIMITS, bytesMax: body.length }).kind, 'image');
    assert.throws(
      () => parse(body, null, { ...LIMITS, bytesMax: body.length - 1 }),
      (error) => error instanceof RegistryError && error.code === 'MANIFEST_TOO_LARGE',
    );
  });

  test('parseManifest, more descriptors than allowed, is refused', () => {
    const limits = { ...LIMITS, descriptorsMax: 4 };
    const subject = descriptor('s', OCI_MANIFEST);
    const layers = [descriptor('a'), descriptor('b')];
    assert.equal(parse(image({ subject, layers }), null, limits).references.length, 4);
    const more = image({ subject, layers: [...layers, descriptor('c')] });
    assert.match(
      refusal(() => parse(more, null, limits)),
      /has 5 descriptors; at most 4/,
    );
    assert.match(
      refusal(() => parse(index({ manifests: Array(5).fill(null) }), null, limits)),
      /has 5 descriptors/,
    );
  });

  test('parseManifest, nesting up to the bound, is accepted, and beyond is refused', () => {
    const nested = (depth: number) =>
      edited(image({ x: 1 }), '"x":1', `"x":${'['.repeat(depth)}${']'.repeat(depth)}`);
    assert.equal(parse(nested(63)).kind, 'image');
    assert.match(
      refusal(() => parse(nested(64))),
      /nests deeper/,
    );
    assert.match(
      refusal(() => parse('['.repeat(LIMITS.bytesMax))),
      /nests deeper/,
    );
    assert.match(
      refusal(() => parse('{"a":'.repeat(LIMITS.bytesMax / 5))),
      /nests deeper/,
    );
  });

  test('parseManifest, as many values as allowed, are accepted, and one more is refused', () => {
    const withValues = (count: number) => {
      const list = (length: number) => JSON.stringify(image({ x: Array(length).fill(0) }));
      // A value is what an opening bracket or a comma announces; none stands in the strings of the sample.
      const others = (list(2).match(/[{[,]/g) ?? []).length - 2;
      return list(count - others);
    };
    assert.equal(withValues(200_000).match(/[{[,]/g)?.length, 200_000);
    assert.equal(parse(withValues(200_000)).kind, 'image');
    assert.equal(
      refusal(() => parse(withValues(200_001))),
      'the manifest holds more than 200000 values',
    );
  });

  test('parseManifest, 4 MiB of anything, ends in a manifest or a refusal', () => {
    const room = LIMITS.bytesMax - 1000;
    const annotations = { large: 'x'.repeat(room) };
    assert.equal(parse(image({ annotations })).annotations?.['large']?.length, room);
    const members = (count: number) =>
      Array.from({ length: count }, (_, number) => `"${number.toString(36)}":""`).join(',');
    const inRoot = (count: number) => edited(image({ x: 1 }), '"x":1', members(count));
    const inAnnotations = (count: number) =>
      edited(image({ annotations: { x: '' } }), '"x":""', members(count));
    assert.equal(parse(inRoot(199_980)).kind, 'image');
    assert.equal(parse(inAnnotations(199_980)).kind, 'image');
    for (const body of [
      inRoot(200_001),
      inAnnotations(200_001),
      image({ x: Array(room / 3).fill([]) }),
      image({ x: Array(room / 2).fill(0) }),
    ]) {
      assert.match(
        refusal(() => parse(body)),
        /holds more than \d+ values/,
      );
    }
    assert.match(
      refusal(() => parse(image({ layers: Array(50_000).fill({}) }))),
      /descriptors; at most/,
    );
    assert.match(
      refusal(() => parse(`{${'"a":1,'.repeat(room / 6)}"b":1}`)),
      /stands twice/,
    );
    assert.match(
      refusal(() => parse(`{"${'\\'.repeat(room)}`)),
      /not JSON/,
    );
    assert.match(
      refusal(() => parse('"'.repeat(room))),
      /not JSON/,
    );
  });

  test('parseManifest, text of a client in a sentence, is short and escaped', () => {
    const sentence = refusal(() => parse(image({ mediaType: `\u0007${'x'.repeat(10_000)}` })));
    assert.ok(sentence.length < 300 && sentence.includes('\\u0007'));
    for (const [length, shown] of [
      [100, 'x'.repeat(100)],
      [101, `${'x'.repeat(100)}…`],
    ] as const) {
      assert.equal(
        refusal(() => parse(image({ mediaType: 'x'.repeat(length) }))),
        `"${shown}" is not the media type of a manifest that this registry knows`,
      );
    }
  });
});

describe('parseManifest, anything at all', () => {
  test('parseManifest, any bytes, ends in a manifest or MANIFEST_INVALID', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        assert.equal(typeof refusal(() => parse(bytes, OCI_MANIFEST)), 'string');
      }),
    );
  });

  test('parseManifest, any JSON in the fields we read, ends in a manifest or MANIFEST_INVALID', () => {
    const change = fc.dictionary(fc.constantFrom(...MANIFEST_KEYS), fc.jsonValue({ maxDepth: 3 }), {
      maxKeys: 2,
    });
    fc.assert(
      fc.property(change, fc.boolean(), (changed, isIndex) => {
        const base: Json = isIndex ? index() : image();
        try {
          const parsed = parse({ ...base, ...changed });
          assert.equal(
            new Set(parsed.references.map(({ kind, position }) => `${kind} ${position}`)).size,
            parsed.references.length,
          );
        } catch (error) {
          assert.ok(error instanceof RegistryError);
          assert.equal(error.code, 'MANIFEST_INVALID');
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('parseManifest, any byte of a manifest changed, never ends in another error', () => {
    const bytes = bytesOf(JSON.stringify(image({ subject: descriptor('s'), annotations: { a: 'b' } })));
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (position, value) => {
        const changed = bytes.slice();
        changed[position] = value;
        try {
          assert.equal(parse(changed, OCI_MANIFEST).kind, 'image');
        } catch (error) {
          assert.ok(error instanceof RegistryError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('parseManifest, any JSON value without repeated keys, passes the scan whatever its strings hold', () => {
    const tricky = fc.string({
      unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'a', '\u2028', '\n'),
    });
    const extension = fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' });
    fc.assert(
      fc.property(
        fc.dictionary(tricky, fc.oneof(tricky, extension)),
        fc.dictionary(tricky, tricky),
        (extra, annotations) => {
          const parsed = parse(image({ extra, annotations }));
          assert.deepEqual(Object.entries(parsed.annotations ?? {}), Object.entries(annotations));
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** A file whose every decision a test must hold, and the tests that have to notice: quickest first. */
export interface Target {
  readonly file: string;
  readonly tests: readonly string[];
}

const MANIFEST_TESTS = ['src/oci/manifest.test.ts', 'src/oci/manifest-hostile.test.ts'];

export const TARGETS: readonly Target[] = [
  { file: 'src/access/guard.ts', tests: ['src/access/guard.test.ts'] },
  { file: 'src/access/grants.ts', tests: ['src/access/grants.test.ts', 'src/access/guard.test.ts'] },
  { file: 'src/access/basic.ts', tests: ['src/access/basic.test.ts'] },
  {
    file: 'src/access/access-tokens.ts',
    tests: ['src/access/access-tokens.test.ts', 'src/access/guard.test.ts'],
  },
  { file: 'src/oci/scope.ts', tests: ['src/oci/scope.test.ts', 'src/access/grants.test.ts'] },
  { file: 'src/oci/range.ts', tests: ['src/oci/range.test.ts'] },
  { file: 'src/oci/content-range.ts', tests: ['src/oci/content-range.test.ts'] },
  { file: 'src/oci/digest.ts', tests: ['src/oci/digest.test.ts'] },
  { file: 'src/oci/media-types.ts', tests: MANIFEST_TESTS },
  { file: 'src/oci/descriptor.ts', tests: MANIFEST_TESTS },
  { file: 'src/oci/manifest.ts', tests: MANIFEST_TESTS },
  { file: 'src/oci/manifest-scan.ts', tests: MANIFEST_TESTS },
];

import type { Reply } from '../call.ts';

/** distribution-spec, "extensions/_oci.md": what this registry has beside the core. */
const EXTENSIONS = [
  {
    name: '_oci',
    url: 'https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md',
    description: 'lists the extensions of this registry',
    endpoints: ['_oci/ext/discover'],
  },
  {
    name: '_catalog',
    url: 'https://distribution.github.io/distribution/spec/api/#catalog',
    description: 'lists the repositories that the caller may pull',
    endpoints: ['_catalog'],
  },
] as const;

export async function discover(): Promise<Reply> {
  return { status: 200, headers: {}, body: { kind: 'json', value: { extensions: EXTENSIONS } } };
}

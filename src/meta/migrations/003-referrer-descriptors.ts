import type { Migration, SqlWords } from './index.ts';

/**
 * The page of a subject's referrers is read from an index alone: what it shows of each is written when it is pushed. Before,
 * ten thousand of them were ten thousand rows of manifests, parsed and written as JSON again. (`deleted_at` is always null
 * there, but a query that names it would go to the row.)
 */
export const referrerDescriptors: Migration = {
  version: 3,
  name: 'referrer-descriptors',
  statements: ({ text, carried, jsonText, hex }: SqlWords) => [
    `alter table manifests add column descriptor ${text}`,
    `update manifests set descriptor =
      '{"mediaType":' || ${jsonText('media_type')} ||
      ',"digest":"' || case ${hex('substr(digest, 1, 1)')} when '01' then 'sha256:' else 'sha512:' end ||
      ${hex('substr(digest, 2)')} || '","size":' || size_bytes ||
      case when artifact_type is null then '' else ',"artifactType":' || ${jsonText('artifact_type')} end ||
      case when annotations is null then '' else ',"annotations":' || annotations end || '}'
     where subject is not null`,
    'drop index manifests_subject',
    `create index manifests_referrers on manifests (repository_id, subject, digest${carried('deleted_at, artifact_type, descriptor')})
     where subject is not null and deleted_at is null`,
    'alter table manifests drop column annotations',
  ],
};

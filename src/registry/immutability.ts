import type { MetaTransaction, RepositoryId } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { isDigestTag, type Tag } from '../oci/reference.ts';
import { compileGlob } from '../std/glob.ts';

/** Indexes above a manifest that a delete looks at before it refuses to guess. */
const ancestorsMax = 1000;
const parentsPageMax = 100;

/** Decides which tags, once set, neither move nor go. The only place that knows; every door asks it. */
export interface Immutability {
  /** Throws DENIED when the tag is protected and means something else than `after` (null: it is to end). */
  check(tag: Tag, change: { readonly before: Digest | null; readonly after: Digest | null }): void;
  /** Throws DENIED when the manifest, or an index above it, has a protected tag. Must run in the deleting transaction. */
  checkDelete(
    tx: Pick<MetaTransaction, 'tags' | 'manifests'>,
    repository: RepositoryId,
    digest: Digest,
  ): Promise<void>;
}

export function createImmutability(patterns: readonly string[]): Immutability {
  const matchers = patterns.map(compileGlob);
  // Clients move those with each new signature or referrer: what they hang on to is a digest, which cannot move.
  const isProtected = (tag: Tag): boolean => !isDigestTag(tag) && matchers.some((matches) => matches(tag));
  return {
    check: (tag, change) => {
      if (change.before === null || change.before === change.after || !isProtected(tag)) return;
      const act = change.after === null ? 'deleted' : 'moved to another manifest';
      throw denied(`tag ${tag} is immutable here and cannot be ${act}`, { tag, digest: change.before });
    },
    checkDelete: async (tx, repository, digest) => {
      if (matchers.length === 0) return;
      for await (const manifest of manifestAndAbove(tx, repository, digest)) {
        const tag = (await tx.tags.onManifest(repository, manifest)).find(isProtected);
        if (tag === undefined) continue;
        const reason =
          manifest === digest
            ? `the manifest has the immutable tag ${tag}`
            : `the manifest is part of ${manifest}, which has the immutable tag ${tag}`;
        throw denied(`${reason} and cannot be deleted`, { tag, digest: manifest });
      }
    },
  };
}

/** Breadth first, each once, however often an index shares its children. */
async function* manifestAndAbove(
  tx: Pick<MetaTransaction, 'manifests'>,
  repository: RepositoryId,
  digest: Digest,
): AsyncIterable<Digest> {
  const seen = new Set<Digest>([digest]);
  for (const target of seen) {
    yield target;
    let after: Digest | null = null;
    do {
      const page: readonly Digest[] = await tx.manifests.parents({
        repository,
        target,
        after,
        limit: parentsPageMax,
      });
      for (const parent of page) seen.add(parent);
      if (seen.size > ancestorsMax) {
        throw denied(
          'the manifest is part of too many indexes to tell whether an immutable tag needs it',
          {},
        );
      }
      after = page.length < parentsPageMax ? null : (page.at(-1) ?? null);
    } while (after !== null);
  }
}

function denied(message: string, detail: Readonly<Record<string, string>>): RegistryError {
  return new RegistryError('DENIED', message, { detail });
}

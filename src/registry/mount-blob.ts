import { blobMounted } from '../events/events.ts';
import type { MetaStore, MetaTransaction } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Clock } from '../std/clock.ts';

/** Repositories that a mount without `from` looks at, per page and in all. */
const candidatesPageMax = 100;
const candidatesMax = 1000;

type Permission = 'yes' | 'token_too_narrow' | 'no';

export interface MountDeps {
  readonly meta: MetaStore;
  readonly clock: Clock;
  readonly graceSeconds: number;
}

export interface MountRequest {
  readonly repository: RepositoryName;
  readonly principal: string;
  readonly digest: Digest;
  /** Null: find one that the caller may pull (distribution-spec, "Mounting a blob", automatic content discovery). */
  readonly from: RepositoryName | null;
  /** The live right of the caller, asked for each source. */
  readonly mayPull: (source: RepositoryName) => Permission;
}

/** What a client must ask for to push into `target` and pull from `source`. */
function mountScope(target: RepositoryName, source: RepositoryName): string {
  return `repository:${target}:pull,push repository:${source}:pull`;
}

/**
 * Links a blob of another repository. False: not there, or not for this caller; the two are one answer, so that a mount
 * tells nobody what a repository holds. A caller with the right but too narrow a token is told to fetch a wider one.
 */
export async function mountBlob(deps: MountDeps, request: MountRequest): Promise<boolean> {
  if (request.from !== null) return mountFrom(deps, request, request.from);
  let tooNarrow: RepositoryName | null = null;
  let after: string | null = null;
  for (let seen = 0; seen < candidatesMax; seen += candidatesPageMax) {
    const page = await deps.meta.read.blobs.repositoriesLinking(request.digest, after, candidatesPageMax);
    for (const source of page) {
      const permission = request.mayPull(source);
      if (permission === 'yes' && (await link(deps, request, source))) return true;
      if (permission === 'token_too_narrow') tooNarrow ??= source;
    }
    after = page.at(-1) ?? null;
    if (page.length < candidatesPageMax) break;
  }
  if (tooNarrow !== null) throw tokenTooNarrow(request.repository, tooNarrow);
  return false;
}

async function mountFrom(deps: MountDeps, request: MountRequest, source: RepositoryName): Promise<boolean> {
  switch (request.mayPull(source)) {
    case 'yes':
      return link(deps, request, source);
    case 'token_too_narrow':
      throw tokenTooNarrow(request.repository, source);
    case 'no':
      return false;
  }
}

async function link(deps: MountDeps, request: MountRequest, source: RepositoryName): Promise<boolean> {
  const { digest, principal } = request;
  if ((await deps.meta.read.blobs.findLinked(source, digest)) === null) return false;
  return deps.meta.transaction(
    async (tx: MetaTransaction) => {
      const now = deps.clock.now();
      if ((await tx.blobs.findLinked(source, digest)) === null) return false;
      if (!(await tx.blobs.touch(digest, now))) return false;
      const repository = await tx.repositories.ensure(request.repository, principal, now);
      await tx.blobs.link(repository.id, digest, principal, now);
      await tx.queues.review(
        {
          kind: 'link',
          repositoryId: repository.id,
          digest,
          reason: 'blob_mounted',
          dueAt: now + deps.graceSeconds * 1000,
        },
        now,
      );
      await blobMounted({ tx, repository: request.repository, principal, at: now }, { digest, from: source });
      return true;
    },
    { concurrent: true },
  );
}

function tokenTooNarrow(target: RepositoryName, source: RepositoryName): RegistryError {
  return new RegistryError('UNAUTHORIZED', `the token does not cover pulling from ${source}`, {
    challenge: { scope: mountScope(target, source), error: 'insufficient_scope' },
  });
}

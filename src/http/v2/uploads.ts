import { parseContentRange } from '../../oci/content-range.ts';
import {
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  digestOf,
  parseDigest,
  parseDigestAlgorithm,
} from '../../oci/digest.ts';
import { RegistryError, withHeaders } from '../../oci/error-codes.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import type { CommittedBlob } from '../../registry/commit-blob.ts';
import { mountBlob } from '../../registry/mount-blob.ts';
import type { Incoming } from '../../registry/receive.ts';
import {
  appendToUpload,
  cancelUpload,
  finishUpload,
  pushWholeBlob,
  startUpload,
  type UploadKey,
  type UploadProgress,
  uploadStatus,
} from '../../registry/uploads.ts';
import type { Call, Reply } from '../call.ts';
import { blobPath, type Desk, type Handler, NO_BODY } from './desk.ts';
import type { RouteOf } from './path.ts';

/** distribution-spec, end-4a (start), end-4b (all in one), end-4c (another algorithm), end-11 (mount). */
export const postUpload: Handler<'uploads'> = async (desk, call, route) => {
  const { repository } = route;
  call.note({ repository });
  const mount = call.query.get('mount');
  if (mount !== null) return mountOrStart(desk, call, { repository, digest: requireDigest(mount) });
  const text = call.query.get('digest');
  if (text !== null) {
    const digest = requireDigest(text);
    // Without a body it can only be the empty blob; anything else is still to come, through an upload.
    if (!call.body.empty || isEmptyDigest(digest)) {
      const principal = call.caller.principal.name;
      const incoming = incomingOf(call);
      return created(
        repository,
        await pushWholeBlob(desk.registry, { repository, principal, digest, incoming }),
      );
    }
    return started(desk, call, { repository, algorithm: digestAlgorithm(digest) });
  }
  return started(desk, call, { repository, algorithm: requestedAlgorithm(call) });
};

/** distribution-spec, end-5: a chunk, or all that is still to come as one stream. */
export const patchUpload: Handler<'upload'> = async (desk, call, route) => {
  const progress = await standing(route, () =>
    appendToUpload(desk.registry, keyOf(call, route), incomingOf(call)),
  );
  return accepted(route.repository, progress, 202);
};

/** distribution-spec, end-6, with or without a last chunk. */
export const putUpload: Handler<'upload'> = async (desk, call, route) => {
  const text = call.query.get('digest');
  if (text === null) throw new RegistryError('DIGEST_INVALID', 'the digest parameter is missing');
  const request = { digest: requireDigest(text), incoming: incomingOf(call) };
  call.note({ repository: route.repository, digest: request.digest });
  const blob = await standing(route, () => finishUpload(desk.registry, keyOf(call, route), request));
  return created(route.repository, blob);
};

/** distribution-spec, end-13. */
export const getUpload: Handler<'upload'> = async (desk, call, route) =>
  accepted(route.repository, await uploadStatus(desk.registry, keyOf(call, route)), 204);

/** distribution-spec, end-14. */
export const deleteUpload: Handler<'upload'> = async (desk, call, route) => {
  await cancelUpload(desk.registry, keyOf(call, route), call.signal);
  return { status: 204, headers: {}, body: NO_BODY };
};

/** A blob that cannot be mounted is uploaded: the 202 is a session that works, whatever the reason. */
async function mountOrStart(
  desk: Desk,
  call: Call,
  request: { readonly repository: RepositoryName; readonly digest: Digest },
): Promise<Reply> {
  const { repository, digest } = request;
  const source = call.query.get('from');
  const from = source === null || source === '' ? null : parseRepositoryName(source);
  const isMountable = source === null || source === '' || from !== null;
  if (isMountable) {
    const mounted = await mountBlob(desk.registry, {
      repository,
      digest,
      from,
      principal: call.caller.principal.name,
      mayPull: (candidate) => desk.guard.may(call.caller, 'pull', candidate),
    });
    call.note({ digest, mount: mounted ? 'mounted' : 'not_found' });
    if (mounted) return created(repository, { digest, sizeBytes: 0 });
  }
  return started(desk, call, { repository, algorithm: digestAlgorithm(digest) });
}

async function started(
  desk: Desk,
  call: Call,
  request: { readonly repository: RepositoryName; readonly algorithm: DigestAlgorithm },
): Promise<Reply> {
  const progress = await startUpload(desk.registry, { ...request, principal: call.caller.principal.name });
  return accepted(request.repository, progress, 202);
}

function keyOf(call: Call, route: RouteOf<'upload'>): UploadKey {
  return { id: route.uploadId, repository: route.repository, principal: call.caller.principal.name };
}

function incomingOf(call: Call): Incoming {
  const header = call.headers['content-range'];
  const range = header === undefined ? null : parseContentRange(header);
  if (header !== undefined && range === null) {
    throw new RegistryError('BLOB_UPLOAD_INVALID', 'malformed Content-Range: expected first-last');
  }
  const { body, signal } = call;
  const { chunks, lengthBytes, empty } = body;
  return { chunks, stop: (reason) => body.fail(reason), lengthBytes, empty, range, signal };
}

/** A chunk out of order tells the client where to go on (distribution-spec, "Pushing a blob in chunks"). */
async function standing<T>(route: RouteOf<'upload'>, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== 'CHUNK_OUT_OF_ORDER') throw error;
    const { offset } = error.detail as { readonly offset: number };
    throw withHeaders(error, uploadHeaders(route.repository, { id: route.uploadId, offsetBytes: offset }));
  }
}

function accepted(repository: RepositoryName, progress: UploadProgress, status: 202 | 204): Reply {
  return { status, headers: uploadHeaders(repository, progress), body: NO_BODY };
}

/** The address needs no query: some clients rebuild it from its path. */
function uploadHeaders(repository: RepositoryName, progress: UploadProgress): Record<string, string> {
  return {
    Location: `/v2/${repository}/blobs/uploads/${progress.id}`,
    // Nothing received reads `0-0` too: docker takes no other form, and the true offset is ours to know.
    Range: `0-${Math.max(progress.offsetBytes - 1, 0)}`,
    'Docker-Upload-UUID': progress.id,
  };
}

function created(repository: RepositoryName, blob: CommittedBlob): Reply {
  const headers = { Location: blobPath(repository, blob.digest), 'Docker-Content-Digest': blob.digest };
  return { status: 201, headers, body: NO_BODY };
}

function requireDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (digest === null) {
    throw new RegistryError('DIGEST_INVALID', 'not a digest that this registry knows (sha256 or sha512)', {
      detail: { digest: text.slice(0, 256) },
    });
  }
  return digest;
}

function requestedAlgorithm(call: Call): DigestAlgorithm {
  const text = call.query.get('digest-algorithm');
  if (text === null || text === '') return 'sha256';
  const algorithm = parseDigestAlgorithm(text);
  if (algorithm === null)
    throw new RegistryError('DIGEST_INVALID', 'digest-algorithm is neither sha256 nor sha512');
  return algorithm;
}

function isEmptyDigest(digest: Digest): boolean {
  return digest === digestOf(digestAlgorithm(digest), new Uint8Array(0));
}

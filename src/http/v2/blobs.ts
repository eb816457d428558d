import type { LinkedBlob } from '../../meta/meta-store.ts';
import { parseRange } from '../../oci/range.ts';
import { deleteBlob } from '../../registry/delete.ts';
import { findBlob, openBlob, promiseBlob } from '../../registry/pull-blob.ts';
import type { Call, Reply } from '../call.ts';
import { CONTENT_HEADERS, type Desk, type Handler, matchesEtag, NO_BODY } from './desk.ts';
import { isPlainGet, redirectTo, sendsToStore } from './redirect.ts';

const MEDIA_TYPE = 'application/octet-stream';
/** A digest never means other bytes; who may have them is asked each time, so shared caches stay out of it. */
const CACHE_CONTROL = 'private, max-age=31536000, immutable';

/** distribution-spec, end-2. */
export const getBlob: Handler<'blob'> = async (desk, call, route) => {
  const blob = await findBlob(desk.registry, route.repository, route.digest);
  call.note({ repository: route.repository, digest: route.digest });
  if (matchesEtag(call.headers['if-none-match'], blob.digest)) return notModified(blob);
  const ranges = requestedRanges(desk, call, blob);
  const elsewhere = await addressAtStore(desk, call, { blob, ranges: ranges?.length ?? 0 });
  if (elsewhere !== null) return redirectTo(elsewhere, blob);
  if (ranges === null) {
    const body = await openBlob(desk.registry, blob, null, call);
    return {
      status: 200,
      headers: { ...headersOf(blob), 'Content-Type': MEDIA_TYPE },
      body: { kind: 'blob', sizeBytes: blob.sizeBytes, body },
    };
  }
  const [range] = ranges;
  if (range !== undefined && ranges.length === 1) {
    const body = await openBlob(desk.registry, blob, range, call);
    return {
      status: 206,
      headers: {
        ...headersOf(blob),
        'Content-Type': MEDIA_TYPE,
        'Content-Range': `bytes ${range.start}-${range.end}/${blob.sizeBytes}`,
      },
      body: { kind: 'blob', sizeBytes: range.end - range.start + 1, body },
    };
  }
  // The content type names the boundary, which whoever writes the parts chooses.
  return {
    status: 206,
    headers: headersOf(blob),
    body: {
      kind: 'ranges',
      mediaType: MEDIA_TYPE,
      sizeBytes: blob.sizeBytes,
      ranges,
      open: (part) => openBlob(desk.registry, blob, part, call),
    },
  };
};

/** To a pusher, a 200 is a promise that the blob stays for a while; who cannot push here is only told. */
export const headBlob: Handler<'blob'> = async (desk, call, route) => {
  const pushes = desk.guard.may(call.caller, 'push', route.repository) !== 'no';
  const rule = pushes ? promiseBlob : findBlob;
  const blob = await rule(desk.registry, route.repository, route.digest);
  if (matchesEtag(call.headers['if-none-match'], blob.digest)) return notModified(blob);
  return {
    status: 200,
    headers: { ...headersOf(blob), 'Content-Type': MEDIA_TYPE, 'Content-Length': String(blob.sizeBytes) },
    body: NO_BODY,
  };
};

/** distribution-spec, end-10. */
export const removeBlob: Handler<'blob'> = async (desk, call, route) => {
  const { repository, digest } = route;
  call.note({ repository, digest });
  await deleteBlob(desk.registry, { repository, principal: call.caller.principal.name }, digest);
  return { status: 202, headers: {}, body: NO_BODY };
};

/** Null: the whole blob. A range of an older representation (`If-Range`) is no range of this one (RFC 9110, 13.1.5). */
function requestedRanges(desk: Desk, call: Call, blob: LinkedBlob): ReturnType<typeof parseRange> {
  const header = call.headers.range;
  if (header === undefined) return null;
  const condition = call.headers['if-range'];
  if (condition !== undefined && condition !== `"${blob.digest}"`) return null;
  return parseRange(header, blob.sizeBytes, desk.config.limits.rangesMax);
}

/** Where the client fetches the blob from the store itself; null when it gets it here. */
async function addressAtStore(
  desk: Desk,
  call: Call,
  wanted: { readonly blob: LinkedBlob; readonly ranges: number },
): Promise<string | null> {
  const { presign } = desk.registry.blobs;
  const { mode, bytesMin, seconds } = desk.config.storage.redirect;
  if (presign === null || wanted.blob.sizeBytes < bytesMin || !isPlainGet(call, wanted.ranges)) return null;
  if (!sendsToStore(mode, presign, call.baseUrl)) return null;
  const { location } = wanted.blob;
  return presign.address({ location, expiresSeconds: seconds, mediaType: MEDIA_TYPE });
}

function notModified(blob: LinkedBlob): Reply {
  return { status: 304, headers: headersOf(blob), body: NO_BODY };
}

function headersOf(blob: LinkedBlob): Record<string, string> {
  return {
    ...CONTENT_HEADERS,
    'Accept-Ranges': 'bytes',
    'Cache-Control': CACHE_CONTROL,
    'Content-Disposition': 'attachment',
    'Docker-Content-Digest': blob.digest,
    ETag: `"${blob.digest}"`,
  };
}

import type { UploadId } from '../../blobs/blob-store.ts';
import type { MetaReads, MetaTransaction, Repository } from '../meta-store.ts';
import { digestFor, manifestOf, tagged, uploadOf } from './fixture.ts';

const DIGEST = digestFor('a');
const HASH = new Uint8Array([1]);
const UPLOAD = 'a' as UploadId;

/** Few rows by nature (valid keys, copies of one blob, people, open uploads, nodes), said where they are written. */
export const FEW_ROWS = [
  /from "signing_keys".*order by/,
  /from "links".*order by "r"."name"/,
  /select count\(\*\) as "count" from "/,
  /from "nodes".*order by/,
];

/**
 * What looks into every part of a table, and why it may: fsck and the jobs walk through all rows, and who mounts a blob
 * without saying from where asks every repository.
 */
export const IN_EVERY_PART = [
  /from "blobs" where "digest" > .* order by "digest"/,
  /from "links" as "l" .* order by "l"."repository_id"/,
  /from "manifests" as "m" .* order by "m"."repository_id"/,
  /from "links" as "l" .* order by "r"."name"/,
  /from "blobs" where "state" <> 'present'/,
  /from "repositories" where "name" > .* exists/,
];

/** Asks everything that can be asked: whoever looks at the statements sees every plan. */
export async function everyRead(read: MetaReads, repository: Repository): Promise<void> {
  const { id, name } = repository;
  await read.repositories.find(name);
  await read.repositories.list({ after: 'a', limit: 9 });
  await everyReadOfManifests(read.manifests, repository);
  await read.tags.find(id, tagged('t'));
  await read.tags.list({ repository: id, after: 'a', limit: 9 });
  await read.tags.onManifest(id, DIGEST);
  await read.tags.history(id, tagged('t'), 9);
  await read.blobs.findLinked(name, DIGEST);
  await read.blobs.find(DIGEST);
  await read.blobs.linkedAmong(id, [DIGEST, digestFor('b')]);
  await read.blobs.repositoriesLinking(DIGEST, 'a', 9);
  await read.blobs.scan(DIGEST, 9);
  await read.blobs.scanLinks({ repositoryId: id, repository: name, digest: DIGEST, blobState: null }, 9);
  await read.uploads.find(UPLOAD);
  await read.uploads.expired(1, 9);
  await read.uploads.ended(1, 9);
  await read.uploads.known([UPLOAD, 'b' as UploadId]);
  await read.uploads.count();
  await read.access.user('a');
  await read.access.countUsers();
  await read.access.refreshToken(HASH);
  await read.access.signingKeys(1);
  await read.access.loginFailures(['a', 'b'], 1);
  await read.access.setting('a');
  await read.queues.reviews({ dueBefore: null, limit: 9 });
  await read.queues.events({ afterId: 1, limit: 9 });
  await read.nodes.list();
  await read.nodes.isDraining('a');
}

async function everyReadOfManifests(read: MetaReads['manifests'], repository: Repository): Promise<void> {
  const { id, name } = repository;
  await read.getByTag(name, tagged('t'));
  await read.getByDigest(name, DIGEST);
  await read.state(id, DIGEST);
  await read.liveAmong(id, [DIGEST, digestFor('b')]);
  await read.references(id, DIGEST);
  const referrers = { repository: id, subject: DIGEST, after: DIGEST, limit: 9 };
  for (const artifactType of [null, 'a']) {
    await read.referrersSize({ ...referrers, artifactType });
    await read.referrersText({ ...referrers, artifactType });
  }
  await read.referencedBy(id, DIGEST);
  await read.parents({ repository: id, target: DIGEST, after: DIGEST, limit: 9 });
  await read.scan({ ...manifestOf('m'), repositoryId: id, repository: name, live: true }, 9);
}

/** Every write that has to find its rows. */
export async function everyWriteThatSearches(
  write: Omit<MetaTransaction, 'afterCommit'>,
  { id, name }: Repository,
): Promise<void> {
  await write.repositories.ensure(name, 'a', 1);
  await write.repositories.findAlone(name);
  await write.tags.set(id, { tag: tagged('t'), before: digestFor('b'), digest: DIGEST }, 'a', 1);
  await write.tags.end(id, tagged('t'), 'a', 1, 'deleted');
  await write.manifests.delete(id, DIGEST, 'a', 1);
  await write.blobs.touch(DIGEST, 1);
  await write.blobs.abandon({ claimedBefore: 1, markedBefore: 2, at: 3, limit: 9 });
  await write.blobs.forget(DIGEST);
  await write.blobs.touchAmong([DIGEST, digestFor('b')], 1);
  await write.blobs.unlink(id, DIGEST);
  await write.uploads.insert(uploadOf(UPLOAD));
  await write.uploads.acquire(UPLOAD, 'x', 5);
  const progress = { offsetBytes: 1, digestSoFar: null, hashedInRun: null, expiresAt: 1 };
  await write.uploads.release(UPLOAD, 'x', progress);
  await write.uploads.close(UPLOAD, 'x', { digest: DIGEST, sizeBytes: 1, hashedInRun: 'r' });
  await write.uploads.delete(UPLOAD, 'x');
  await write.uploads.end(UPLOAD, null, 1);
  await write.uploads.forgetEnded([UPLOAD, 'b' as UploadId]);
  await write.access.expire(1, 9);
  await write.leases.take('a', 'b', 2);
  await write.leases.isCurrent('a', 1);
  await write.leases.free('a', 'b', 0);
  await write.nodes.setDraining('a', true);
  await write.nodes.remove('a');
}

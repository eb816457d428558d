import { sha256 } from '../v2/v2-client.ts';
import type { Pusher } from './pusher.ts';

type Headers = Readonly<Record<string, string>>;

/** One request of a push, mount or delete, with what it needs before it. `armed` goes with that one request. */
export interface Act {
  readonly name: string;
  readonly run: (pusher: Pusher, armed: Headers) => Promise<void>;
}

const NOTHING = Buffer.alloc(0);
const QUIET: Headers = {};

async function taggedManifest(pusher: Pusher) {
  const manifest = await pusher.newManifest();
  const tag = pusher.newTag();
  await pusher.pushManifest(manifest, { inPath: tag, tags: [] });
  return { manifest, tag };
}

/** Every form of writing that the registry knows. */
export const ACTS: readonly Act[] = [
  {
    name: 'upload: POST with everything',
    run: async (pusher, armed) => void (await pusher.pushBlob(pusher.newBytes(), armed)),
  },
  {
    name: 'upload: POST',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      const location = await pusher.begin(bytes, armed);
      await pusher.finish(location, sha256(bytes), bytes);
    },
  },
  {
    name: 'upload: PUT with everything',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      await pusher.finish(await pusher.begin(bytes), sha256(bytes), bytes, armed);
    },
  },
  {
    name: 'upload: PATCH with everything',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      const location = await pusher.begin(bytes);
      await pusher.patch(location, bytes, armed);
      await pusher.finish(location, sha256(bytes), NOTHING);
    },
  },
  {
    name: 'upload: PUT after PATCH',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      const location = await pusher.begin(bytes);
      await pusher.patch(location, bytes);
      await pusher.finish(location, sha256(bytes), NOTHING, armed);
    },
  },
  {
    name: 'upload: second chunk',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      const location = await pusher.begin(bytes);
      await pusher.patch(location, bytes.subarray(0, 7));
      await pusher.patch(location, bytes.subarray(7, 15), armed);
      await pusher.finish(location, sha256(bytes), bytes.subarray(15));
    },
  },
  {
    name: 'upload: PUT with the last chunk',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      const location = await pusher.begin(bytes);
      await pusher.patch(location, bytes.subarray(0, 9));
      await pusher.finish(location, sha256(bytes), bytes.subarray(9), armed);
    },
  },
  {
    name: 'upload: a blob that is there already',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      await pusher.pushBlob(bytes);
      await pusher.finish(await pusher.begin(bytes), sha256(bytes), bytes, armed);
    },
  },
  {
    name: 'upload: DELETE',
    run: async (pusher, armed) => {
      const bytes = pusher.newBytes();
      const location = await pusher.begin(bytes);
      await pusher.patch(location, bytes);
      await pusher.cancel(location, armed);
    },
  },
  {
    name: 'mount',
    run: async (pusher, armed) => {
      const digest = await pusher.pushBlob(pusher.newBytes());
      const target = `${pusher.repository}-mounts`;
      const path = `/v2/${target}/blobs/uploads/?mount=${digest}&from=${pusher.repository}`;
      await pusher.change(
        [[`blob ${target} ${digest}`, 'here']],
        () => pusher.send('POST', path, armed),
        201,
      );
    },
  },
  {
    name: 'manifest: PUT by a new tag',
    run: async (pusher, armed) => {
      await pusher.pushManifest(await pusher.newManifest(), { inPath: pusher.newTag(), tags: [] }, armed);
    },
  },
  {
    name: 'manifest: PUT that moves a tag',
    run: async (pusher, armed) => {
      const { tag } = await taggedManifest(pusher);
      await pusher.pushManifest(await pusher.newManifest(), { inPath: tag, tags: [] }, armed);
    },
  },
  {
    name: 'manifest: PUT by digest',
    run: async (pusher, armed) => {
      const manifest = await pusher.newManifest();
      await pusher.pushManifest(manifest, { inPath: manifest.digest, tags: [] }, armed);
    },
  },
  {
    name: 'manifest: PUT by digest with ?tag=',
    run: async (pusher, armed) => {
      const { tag } = await taggedManifest(pusher);
      const manifest = await pusher.newManifest();
      await pusher.pushManifest(manifest, { inPath: manifest.digest, tags: [tag, pusher.newTag()] }, armed);
    },
  },
  {
    name: 'delete: a tag',
    run: async (pusher, armed) => {
      const { tag } = await taggedManifest(pusher);
      const path = `/v2/${pusher.repository}/manifests/${tag}`;
      await pusher.change([[pusher.key('tag', tag), null]], () => pusher.send('DELETE', path, armed), 202);
    },
  },
  {
    name: 'delete: a manifest and its tags',
    run: async (pusher, armed) => {
      const { manifest, tag } = await taggedManifest(pusher);
      const path = `/v2/${pusher.repository}/manifests/${manifest.digest}`;
      const changes = [pusher.key('tag', tag), pusher.key('manifest', manifest.digest)];
      await pusher.change(
        changes.map((key) => [key, null] as const),
        () => pusher.send('DELETE', path, armed),
        202,
      );
    },
  },
  {
    name: 'delete: a blob',
    run: async (pusher, armed) => {
      const digest = await pusher.pushBlob(pusher.newBytes());
      const path = `/v2/${pusher.repository}/blobs/${digest}`;
      await pusher.change(
        [[pusher.key('blob', digest), null]],
        () => pusher.send('DELETE', path, armed),
        202,
      );
    },
  },
];

/** Anything, again and again, until the registry is gone. */
export async function pushUntilCut(pusher: Pusher): Promise<void> {
  for (;;) {
    try {
      await pusher.random.pick(ACTS).run(pusher, QUIET);
    } catch (error) {
      if (isCut(error)) return;
      throw error;
    }
  }
}

export function isCut(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'ECONNRESET' || code === 'ECONNREFUSED' || code === 'EPIPE' || code === 'EAWAY';
}

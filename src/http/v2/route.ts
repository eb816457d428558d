import type { Guard } from '../../access/guard.ts';
import type { Need } from '../../access/need.ts';
import type { Config } from '../../config/config.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Call, Reply } from '../call.ts';
import { getBlob, headBlob, removeBlob } from './blobs.ts';
import { catalog } from './catalog.ts';
import type { Desk, Handler } from './desk.ts';
import { discover } from './discover.ts';
import { getManifest, putManifest, removeManifest } from './manifests.ts';
import { acceptNamespace, type NamespaceSource } from './namespace.ts';
import { parseArgument, parsePath, type RawRoute, type RouteKind } from './path.ts';
import { ping } from './ping.ts';
import { referrers } from './referrers.ts';
import { tagList } from './tags.ts';
import { deleteUpload, getUpload, patchUpload, postUpload, putUpload } from './uploads.ts';

interface Endpoint<K extends RouteKind> {
  readonly need: Need;
  readonly handle: Handler<K>;
}

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** One kind of path: what metrics call it, what it looks like, and per method what it needs and who answers. */
export interface RouteRow<K extends RouteKind> {
  readonly kind: K;
  readonly routeClass: string;
  readonly pattern: string;
  readonly methods: Readonly<Partial<Record<Method, Endpoint<K>>>>;
}

const AUTHENTICATED: Need = { kind: 'authenticated' };
const CATALOG: Need = { kind: 'catalog' };
const PULL: Need = { kind: 'repository', action: 'pull' };
/** During a push clients ask what is there already: a grant to push alone has to do. */
const PULL_OR_PUSH: Need = { kind: 'repository', action: 'pull', orAction: 'push' };
const PUSH: Need = { kind: 'repository', action: 'push' };
const DELETE: Need = { kind: 'repository', action: 'delete' };

/** The whole of `/v2`. A path or method that does not stand here does not exist. */
export const V2_ROUTES: { readonly [K in RouteKind]: RouteRow<K> } = {
  ping: {
    kind: 'ping',
    routeClass: 'v2_ping',
    pattern: '/v2/',
    methods: readOnly<'ping'>(AUTHENTICATED, ping),
  },
  catalog: {
    kind: 'catalog',
    routeClass: 'v2_catalog',
    pattern: '/v2/_catalog',
    methods: readOnly<'catalog'>(CATALOG, catalog),
  },
  discover: {
    kind: 'discover',
    routeClass: 'v2_discover',
    pattern: '/v2/_oci/ext/discover',
    methods: readOnly<'discover'>(AUTHENTICATED, discover),
  },
  repositoryDiscover: {
    kind: 'repositoryDiscover',
    routeClass: 'v2_discover',
    pattern: '/v2/<name>/_oci/ext/discover',
    methods: readOnly<'repositoryDiscover'>(PULL_OR_PUSH, discover),
  },
  tags: {
    kind: 'tags',
    routeClass: 'v2_tags',
    pattern: '/v2/<name>/tags/list',
    methods: readOnly<'tags'>(PULL, tagList),
  },
  referrers: {
    kind: 'referrers',
    routeClass: 'v2_referrers',
    pattern: '/v2/<name>/referrers/<digest>',
    methods: readOnly<'referrers'>(PULL, referrers),
  },
  manifest: {
    kind: 'manifest',
    routeClass: 'v2_manifest',
    pattern: '/v2/<name>/manifests/<reference>',
    methods: {
      GET: { need: PULL, handle: getManifest },
      HEAD: { need: PULL_OR_PUSH, handle: getManifest },
      PUT: { need: PUSH, handle: putManifest },
      DELETE: { need: DELETE, handle: removeManifest },
    },
  },
  blob: {
    kind: 'blob',
    routeClass: 'v2_blob',
    pattern: '/v2/<name>/blobs/<digest>',
    methods: {
      GET: { need: PULL, handle: getBlob },
      HEAD: { need: PULL_OR_PUSH, handle: headBlob },
      DELETE: { need: DELETE, handle: removeBlob },
    },
  },
  uploads: {
    kind: 'uploads',
    routeClass: 'v2_uploads',
    pattern: '/v2/<name>/blobs/uploads/',
    methods: { POST: { need: PUSH, handle: postUpload } },
  },
  // All of an upload needs push, cancelling too: it removes nothing that was ever pushed.
  upload: {
    kind: 'upload',
    routeClass: 'v2_upload',
    pattern: '/v2/<name>/blobs/uploads/<id>',
    methods: {
      GET: { need: PUSH, handle: getUpload },
      HEAD: { need: PUSH, handle: getUpload },
      PATCH: { need: PUSH, handle: patchUpload },
      PUT: { need: PUSH, handle: putUpload },
      DELETE: { need: PUSH, handle: deleteUpload },
    },
  },
};

interface RouteRequest {
  /** Undecoded, without the query. */
  readonly path: string;
  readonly method: string;
  readonly query: URLSearchParams;
}

/** What the door needs to know before it calls `handle`: first the guard, then the desk. */
export interface ResolvedRoute {
  readonly routeClass: string;
  readonly need: Need;
  readonly repository: RepositoryName | null;
  /** A second scope that a challenge must ask for: the source of a mount. */
  readonly extraScope: string | null;
  /** Throws, or rejects, with what goes into the answer. */
  readonly handle: (call: Call) => Promise<Reply>;
}

export interface V2 {
  /** Never throws: what is wrong with the path is told by `handle`, when the caller has shown who they are. */
  resolve(request: RouteRequest): ResolvedRoute;
}

export function createV2(deps: {
  readonly registry: Registry;
  readonly guard: Guard;
  readonly config: Config;
}): V2 {
  const { registry, guard, config } = deps;
  const desk: Desk = { registry, guard, config };
  const namespaces: NamespaceSource = { externalUrl: config.server.externalUrl };
  return {
    resolve: (request) => {
      let raw: RawRoute;
      try {
        raw = parsePath(request.path);
      } catch (error) {
        return refused('v2_other', AUTHENTICATED, error);
      }
      const row = V2_ROUTES[raw.kind] as RouteRow<RouteKind>;
      const { repository } = raw;
      const endpoint = isMethod(request.method) ? row.methods[request.method] : undefined;
      if (endpoint === undefined) {
        const need = repository === null ? AUTHENTICATED : PULL_OR_PUSH;
        return { ...refused(row.routeClass, need, notAllowed(row)), repository };
      }
      return {
        routeClass: row.routeClass,
        need: endpoint.need,
        repository,
        extraScope: raw.kind === 'uploads' ? mountSourceScope(request.query) : null,
        handle: (call) => {
          const namespace = repository === null ? null : acceptNamespace(namespaces, call);
          // The kind picked both the endpoint and the shape of the route.
          const reply = endpoint.handle(desk, call, parseArgument(raw));
          return namespace === null ? reply : withNamespace(reply, namespace);
        },
      };
    },
  };
}

async function withNamespace(answer: Promise<Reply>, namespace: string): Promise<Reply> {
  const reply = await answer;
  return { ...reply, headers: { ...reply.headers, 'OCI-Namespace': namespace } };
}

function readOnly<K extends RouteKind>(need: Need, handle: Handler<K>): RouteRow<K>['methods'] {
  return { GET: { need, handle }, HEAD: { need, handle } };
}

function isMethod(method: string): method is Method {
  return ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].includes(method);
}

function refused(routeClass: string, need: Need, error: unknown): ResolvedRoute {
  const handle = async (): Promise<Reply> => {
    throw error;
  };
  return { routeClass, need, repository: null, extraScope: null, handle };
}

function notAllowed(row: RouteRow<RouteKind>): RegistryError {
  return new RegistryError('METHOD_NOT_ALLOWED', null, {
    headers: { Allow: Object.keys(row.methods).join(', ') },
  });
}

/** A client without the right token must learn of both scopes at once, or it comes back with half a token. */
function mountSourceScope(query: URLSearchParams): string | null {
  const from = query.get('mount') === null ? null : query.get('from');
  const source = from === null ? null : parseRepositoryName(from);
  return source === null ? null : `repository:${source}:pull`;
}

import { RegistryError } from '../../oci/error-codes.ts';
import type { Call } from '../call.ts';

export interface NamespaceSource {
  readonly externalUrl: string | null;
}

/**
 * `ns=` names the registry that content comes from (distribution-spec, "Registry Proxying"). It may name us; to serve our
 * own `library/nginx` as if it were another registry's would let anybody who can push here stand in for it. Returns the
 * name for the answer's `OCI-Namespace`, null when the request has none.
 */
export function acceptNamespace(source: NamespaceSource, call: Call): string | null {
  const namespace = call.query.get('ns');
  if (namespace === null || namespace === '') return null;
  for (const url of [call.baseUrl, source.externalUrl]) {
    const host = url === null ? null : hostNamed(url, namespace);
    if (host !== null) return host;
  }
  throw new RegistryError('NAME_UNKNOWN', 'this registry does not stand in for the registry in ns', {
    detail: { ns: namespace.slice(0, 256) },
  });
}

/** Reads the default port in or out, and the case of the name. Answers in our spelling: the caller's goes into no header. */
function hostNamed(url: string, namespace: string): string | null {
  const base = URL.parse(url);
  const named = base === null ? null : URL.parse(`${base.protocol}//${namespace}`);
  if (base === null || named === null) return null;
  return named.host === base.host && named.pathname === '/' ? base.host : null;
}

import { RegistryError } from '../../oci/error-codes.ts';
import type { Call } from '../call.ts';

export interface NamespaceSource {
  readonly externalUrl: string | null;
}

/**
 * `ns=` names the registry that content comes from (distribution-spec, "Registry Proxying"). It may name us; to serve our
 * own `library/nginx` as if it were another registry's would let anybody who can push here stand in for it.
 */
export function checkNamespace(source: NamespaceSource, call: Call): void {
  const namespace = call.query.get('ns');
  if (namespace === null || namespace === '') return;
  const ours = [call.baseUrl, source.externalUrl].filter((url) => url !== null);
  if (ours.some((url) => isHostOf(url, namespace))) return;
  throw new RegistryError('NAME_UNKNOWN', 'this registry does not stand in for the registry in ns', {
    detail: { ns: namespace.slice(0, 256) },
  });
}

function isHostOf(url: string, namespace: string): boolean {
  const base = URL.parse(url);
  // Reads the default port in or out, and the case of the name.
  const named = base === null ? null : URL.parse(`${base.protocol}//${namespace}`);
  return base !== null && named !== null && named.host === base.host && named.pathname === '/';
}

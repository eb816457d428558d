import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RegistryError } from '../oci/error-codes.ts';
import { exchangeOf } from './exchange.ts';

export interface WelcomePageOptions {
  readonly version: string;
  /** Port of the registry's own listener, which the page names where it is not the page's own. */
  readonly registryPort: () => number;
}

const STYLE = `:root{color-scheme:light dark}
body{font:16px/1.55 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1.25rem;background:#fff;color:#1b1f24}
h1{font-size:1.6rem;margin-bottom:.25rem}h2{font-size:1.1rem;margin-top:2rem}
pre{padding:.9rem 1rem;overflow-x:auto;border-radius:6px;background:#f2f4f7}
code{font:.92em/1.5 ui-monospace,monospace}a{color:#0b57d0}.quiet{color:#57606a}
@media (prefers-color-scheme:dark){body{background:#0f1318;color:#e4e8ee}pre{background:#1a2029}a{color:#8ab4f8}.quiet{color:#9aa5b1}}
`;
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');
const POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** `/` of the console's listener. It promises nothing that is not there. */
export async function welcomePage(app: FastifyInstance, options: WelcomePageOptions): Promise<void> {
  app.get('/', async (request, reply) => {
    const exchange = exchangeOf(request.raw);
    if (exchange === null || exchange.surface === 'registry') {
      throw new RegistryError(
        'NOT_FOUND',
        'this is the registry: clients speak to /v2/, people to the console',
      );
    }
    const page = renderWelcomePage({
      registryUrl: registryUrlFor(request, exchange.baseUrl, options.registryPort()),
      version: options.version,
    });
    return reply
      .type('text/html; charset=utf-8')
      .header('Content-Security-Policy', POLICY)
      .header('Referrer-Policy', 'no-referrer')
      .header('Cache-Control', 'no-store')
      .send(page);
  });
}

/**
 * Behind a proxy both listeners share one name. Reached directly, the console's port is of no use to a client: then the
 * registry's stands in its place.
 */
function registryUrlFor(request: FastifyRequest, baseUrl: string, registryPort: number): string {
  const suffix = `:${request.raw.socket.localPort ?? 0}`;
  return baseUrl.endsWith(suffix) ? `${baseUrl.slice(0, -suffix.length)}:${registryPort}` : baseUrl;
}

export function renderWelcomePage(options: {
  readonly registryUrl: string;
  readonly version: string;
}): string {
  const split = options.registryUrl.indexOf('://');
  const host = escapeHtml(options.registryUrl.slice(split + 3));
  const plain = options.registryUrl.startsWith('http://') && !/^(?:localhost|127\.|\[::1\])/.test(host);
  const warning = plain
    ? `<p>This address has no TLS. Docker speaks plain HTTP only to hosts listed in its
<code>insecure-registries</code>, podman with <code>--tls-verify=false</code>.</p>`
    : '';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drift registry</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Drift</h1>
<p class="quiet">A self-hosted OCI registry, version ${escapeHtml(options.version)}</p>
<p>Images, charts and other artifacts are pushed to and pulled from <code>${host}</code>.
There is no web console here yet: use the clients you know.</p>
${warning}
<h2>Log in</h2>
<pre><code>docker login ${host}</code></pre>
<h2>Push</h2>
<pre><code>docker tag hello-world ${host}/demo/hello:latest
docker push ${host}/demo/hello:latest</code></pre>
<h2>Pull</h2>
<pre><code>docker pull ${host}/demo/hello:latest</code></pre>
<p>The same works with podman, skopeo, crane, regctl, oras and helm.</p>
<h2>For operators</h2>
<ul>
<li><a href="/readyz">Readiness</a>: storage, free space and database</li>
<li><a href="/healthz">Liveness</a></li>
<li><a href="/metrics">Metrics</a> in Prometheus form</li>
<li><a href="/version">Version</a></li>
<li>The guides are in the <code>docs</code> folder of the program.</li>
</ul>
</main>
</body>
</html>
`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
}

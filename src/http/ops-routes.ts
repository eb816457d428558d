import type { FastifyInstance } from 'fastify';
import type { Readiness } from './readiness.ts';

export interface OpsRoutesOptions {
  readonly readiness: () => Promise<Readiness>;
  /** Prometheus text over all workers together. */
  readonly expositionAll: () => Promise<string>;
  readonly version: string;
}

/** For probes and scrapers: open to everybody, on both listeners, and so without anything worth hiding. */
export async function opsRoutes(app: FastifyInstance, options: OpsRoutesOptions): Promise<void> {
  const { readiness, expositionAll, version } = options;

  app.addHook('onRequest', async (_request, reply) => {
    reply.header('Cache-Control', 'no-store');
  });

  /** The process answers; says nothing of what it depends on, or a full disk would get it restarted. */
  app.get('/healthz', async () => ({ status: 'ok' }));

  /** What older probes look for is the word OK. */
  app.get('/health', async () => ({ status: 'OK' }));

  app.get('/readyz', async (_request, reply) => {
    const { ok, parts } = await readiness();
    return reply.code(ok ? 200 : 503).send({ status: ok ? 'ready' : 'not ready', parts });
  });

  app.get('/metrics', async (_request, reply) => {
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(await expositionAll());
  });

  app.get('/version', async () => ({ name: 'drift', version }));
}

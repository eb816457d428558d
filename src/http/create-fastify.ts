import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Fastify from 'fastify';
import type { Config } from '../config/config.ts';
import type { ErrorCode } from '../oci/error-codes.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { isOurFault, renderError } from './errors.ts';
import { exchangeOf } from './exchange.ts';
import type { OpsRoutesOptions } from './ops-routes.ts';
import { opsRoutes } from './ops-routes.ts';
import { welcomePage } from './welcome-page.ts';

/** Bodies of everything that is not `/v2`. */
const BODY_BYTES_MAX = 64 * 1024;

export interface FastifyOptions extends OpsRoutesOptions {
  readonly config: Pick<Config, 'server' | 'auth'>;
}

/** Everything that is not `/v2`. The caller registers further plugins and awaits `ready()` before the door gets it. */
export async function createFastify(options: FastifyOptions): Promise<FastifyInstance> {
  const { config } = options;
  const app = Fastify({
    logger: false,
    trustProxy: false,
    bodyLimit: BODY_BYTES_MAX,
    genReqId: (message) => exchangeOf(message)?.requestId ?? '',
    // What its router refuses never reaches the error handler, and its own answer has another form.
    frameworkErrors: (_error, request, reply) => {
      const error = new RegistryError('REQUEST_INVALID', 'the path is not one that can be read');
      sendError({ config, error, request, reply });
    },
  });
  app.addHook('onRequest', async (request) => {
    const exchange = exchangeOf(request.raw);
    // A pattern, never the path itself: it labels metrics.
    if (exchange !== null)
      exchange.routeClass = request.is404 ? 'other' : (request.routeOptions.url ?? 'other');
  });
  app.setErrorHandler((error, request, reply) => sendError({ config, error, request, reply }));
  app.setNotFoundHandler((request, reply) =>
    sendError({ config, error: new RegistryError('NOT_FOUND'), request, reply }),
  );
  await app.register(opsRoutes, options);
  await app.register(welcomePage, {
    version: options.version,
    registryPort: () => config.server.bind.port,
  });
  return app;
}

/** For `identifyAddress` of the token routes: the address that the door found, forwarded or not. */
export function addressOf(request: FastifyRequest): string {
  return exchangeOf(request.raw)?.address ?? request.raw.socket.remoteAddress ?? '';
}

/** For `notePrincipal` of the token routes: the door's line of the log names whom a handler of Fastify's found. */
export function notePrincipal(request: FastifyRequest, name: string): void {
  const exchange = exchangeOf(request.raw);
  if (exchange !== null) exchange.principalName = name;
}

/** The same body and headers as `/v2` has for its errors. */
function sendError(options: {
  readonly config: FastifyOptions['config'];
  readonly error: unknown;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}): FastifyReply {
  const error = fromFastify(options.error);
  const exchange = exchangeOf(options.request.raw);
  if (exchange !== null && isOurFault(error)) exchange.fault = error;
  const { status, headers, body } = renderError(error, {
    baseUrl: exchange?.baseUrl ?? '',
    service: options.config.auth.service,
    requestId: options.request.id,
  });
  options.reply.code(status);
  for (const [name, value] of Object.entries(headers)) {
    options.reply.header(name, typeof value === 'string' ? value : [...value]);
  }
  return options.reply.send(body.kind === 'json' ? body.value : null);
}

const CODES_BY_STATUS: ReadonlyMap<number, ErrorCode> = new Map([
  [404, 'NOT_FOUND'],
  [405, 'METHOD_NOT_ALLOWED'],
  [408, 'REQUEST_TIMEOUT'],
  [413, 'MANIFEST_TOO_LARGE'],
  [429, 'TOOMANYREQUESTS'],
  [503, 'UNAVAILABLE'],
]);

/** Fastify's own refusals carry a status; their messages are about the request and safe to show. */
function fromFastify(error: unknown): unknown {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number')
    return error;
  if (error.statusCode >= 500 && error.statusCode !== 503) return error;
  const code = CODES_BY_STATUS.get(error.statusCode) ?? 'REQUEST_INVALID';
  return new RegistryError(code, error.message, { cause: error });
}

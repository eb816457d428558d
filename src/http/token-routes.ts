import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { TokenServer } from '../access/token-server.ts';
import { RegistryError } from '../oci/error-codes.ts';

export interface TokenRoutesOptions {
  readonly tokenServer: TokenServer;
  readonly identifyAddress: (request: FastifyRequest) => string;
  /** For the line of the log. */
  readonly notePrincipal: (request: FastifyRequest, name: string) => void;
}

/** Bytes of a form: a user name, a password and a handful of scopes. */
const FORM_BYTES_MAX = 8 * 1024;
const FORM_TYPE = 'application/x-www-form-urlencoded';

/**
 * `GET` and `POST /token`, and the keys that its tokens can be checked with. Errors leave as `RegistryError`, for the error
 * handler of the instance that this is registered in.
 */
export async function tokenRoutes(app: FastifyInstance, options: TokenRoutesOptions): Promise<void> {
  const { tokenServer, identifyAddress, notePrincipal } = options;

  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    FORM_TYPE,
    { parseAs: 'string', bodyLimit: FORM_BYTES_MAX },
    (_request, body, done) => {
      done(null, new URLSearchParams(body.toString()));
    },
  );
  app.setErrorHandler((error: FastifyError) => {
    throw translated(error);
  });

  app.get('/token', async (request, reply) => {
    const answer = await tokenServer.issueByQuery({
      parameters: queryOf(request),
      authorization: request.raw.headersDistinct.authorization ?? [],
      address: identifyAddress(request),
      onPrincipal: (name) => notePrincipal(request, name),
    });
    return unstored(reply).send(answer);
  });

  app.post('/token', async (request, reply) => {
    if (!(request.body instanceof URLSearchParams)) {
      throw new RegistryError('REQUEST_INVALID', `POST /token takes a form (${FORM_TYPE})`);
    }
    const answer = await tokenServer.issueByForm({
      parameters: request.body,
      address: identifyAddress(request),
      onPrincipal: (name) => notePrincipal(request, name),
    });
    return unstored(reply).send(answer);
  });

  app.get('/.well-known/jwks.json', async (_request, reply) => {
    // Shorter than any key's wait between its first signature and the next look of a verifier.
    return reply.header('Cache-Control', 'public, max-age=60').send(await tokenServer.publicKeys());
  });
}

/** Repeated keys and `+` as RFC 1866 has them, whatever parser the instance was given. */
function queryOf(request: FastifyRequest): URLSearchParams {
  const target = request.raw.url ?? '';
  const question = target.indexOf('?');
  return new URLSearchParams(question < 0 ? '' : target.slice(question + 1));
}

/** RFC 6749 5.1. */
function unstored(reply: FastifyReply): FastifyReply {
  return reply.header('Cache-Control', 'no-store').header('Pragma', 'no-cache');
}

function translated(error: FastifyError): Error {
  if (error instanceof RegistryError || error.code === undefined) return error;
  if (!error.code.startsWith('FST_ERR_CTP_')) return error;
  const why =
    error.code === 'FST_ERR_CTP_BODY_TOO_LARGE'
      ? `the form is larger than ${FORM_BYTES_MAX} bytes`
      : `POST /token takes a form (${FORM_TYPE})`;
  return new RegistryError('REQUEST_INVALID', why, { cause: error });
}

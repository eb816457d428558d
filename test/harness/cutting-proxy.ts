import { createServer, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Endpoint } from './client-world.ts';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | null;
  readonly status: number;
  readonly contentRange: string | null;
}

export interface CuttingProxy {
  readonly endpoint: Endpoint;
  /** What went through, in the order of the answers. */
  readonly seen: readonly SeenRequest[];
  /** The next GET of such a path that is answered with 200 loses its connection after so many bytes of the body. */
  cutNext(pathPart: string, afterBytes: number): void;
  stop(): Promise<void>;
}

/** A bad line to a registry, to see how clients go on after it. */
export async function startCuttingProxy(target: Endpoint): Promise<CuttingProxy> {
  const seen: SeenRequest[] = [];
  let cut: { readonly pathPart: string; readonly afterBytes: number } | null = null;
  const server = createServer((message, response) => {
    const path = message.url ?? '/';
    const takeCut = (): number | null => {
      if (cut === null || message.method !== 'GET' || !path.includes(cut.pathPart)) return null;
      const { afterBytes } = cut;
      cut = null;
      return afterBytes;
    };
    forward({ target, message, response, takeCut, seen });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const host = `localhost:${(server.address() as AddressInfo).port}`;
  return {
    endpoint: { host, url: `http://${host}`, authorityFile: null },
    seen,
    cutNext: (pathPart, afterBytes) => {
      cut = { pathPart, afterBytes };
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function forward(options: {
  readonly target: Endpoint;
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly takeCut: () => number | null;
  readonly seen: SeenRequest[];
}): void {
  const { target, message, response, takeCut, seen } = options;
  const { port } = new URL(target.url);
  const { method = 'GET', url: path = '/', headers } = message;
  const outgoing = sendRequest({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
    const status = answer.statusCode ?? 502;
    const contentRange = answer.headers['content-range'] ?? null;
    seen.push({ method, path, range: headers.range ?? null, status, contentRange });
    response.writeHead(status, answer.headers);
    const afterBytes = status === 200 ? takeCut() : null;
    if (afterBytes === null) answer.pipe(response);
    else cutAfter(answer, response, afterBytes);
  });
  outgoing.on('error', () => response.destroy());
  message.pipe(outgoing);
}

function cutAfter(answer: IncomingMessage, response: ServerResponse, afterBytes: number): void {
  let left = afterBytes;
  answer.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, left);
    left -= part.length;
    // Only what has left this process reaches the client before the connection breaks.
    response.write(part, () => {
      if (left === 0) response.destroy();
    });
    if (left === 0) answer.destroy();
  });
}

import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** One TCP connection, kept: under several workers all of its requests reach the same one. */
export interface HttpConnection {
  ask(path: string, options?: AskOptions): Promise<Answer>;
  close(): void;
}

export function openConnection(url: string, options: { readonly authority?: Buffer } = {}): HttpConnection {
  const secure = url.startsWith('https:');
  const settings = { keepAlive: true, maxSockets: 1 };
  const agent = secure
    ? new SecureAgent({ ...settings, ...(options.authority === undefined ? {} : { ca: options.authority }) })
    : new Agent(settings);
  const begin = secure ? secureRequest : request;
  return {
    ask: (path, { method = 'GET', headers = {}, body } = {}) =>
      new Promise((resolve, reject) => {
        const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
        const call = begin(
          new URL(path, url),
          { method, agent, headers: { ...length, ...headers } },
          (answer) => {
            const chunks: Buffer[] = [];
            answer.on('data', (chunk: Buffer) => chunks.push(chunk));
            answer.on('error', reject);
            answer.on('end', () => {
              const whole = Buffer.concat(chunks);
              resolve({
                status: answer.statusCode ?? 0,
                headers: answer.headers,
                body: whole,
                text: whole.toString(),
              });
            });
          },
        );
        call.on('error', reject);
        call.end(body);
      }),
    close: () => agent.destroy(),
  };
}

export function basic(name: string, password: string): { readonly Authorization: string } {
  return { Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` };
}

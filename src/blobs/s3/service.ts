import { readFileSync } from 'node:fs';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { HeadBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { S3Config, S3Credentials } from '../../config/config.ts';
import { Deadlines, type Patience } from './deadlines.ts';
import { DirectAgent } from './direct-agent.ts';
import { isTransient, NoAnswer, statusOf, translated, unavailable } from './failures.ts';

/** After this many milliseconds no request is tried again: its caller gives up soon. */
const RETRY_MILLISECONDS_MAX = 5_000;
const RETRY_PAUSE_MILLISECONDS = 60;
/** Bytes per second of a body alone on the line; when it is slower, the service is asked whether it is there. */
const BODY_BYTES_PER_SECOND_MIN = 1024 * 1024;
/** Seconds for what the service does by itself with bytes that it has: joining parts, copying them. */
const SERVER_SIDE_SECONDS_MAX = 300;
/** So many times as long a body may take of which nobody sees it go, while the service answers others. */
const PATIENCE_FACTOR = 3;

export interface Call {
  /** Bytes that go there with it, or are asked for. */
  readonly bodyBytes?: number;
  /** The service works on bytes that it has. */
  readonly serverSide?: boolean;
  readonly signal?: AbortSignal;
  /** Of the configured attempts, by default all. */
  readonly once?: boolean;
}

/** One attempt; tells whenever some of its bytes have gone, or some have come. */
export type Request<T> = (signal: AbortSignal, onProgress: () => void) => Promise<T>;

/** The service as one client, with a deadline and a limited number of attempts for each request. */
export class Service {
  readonly bucket: string;
  readonly config: S3Config;
  readonly client: S3Client;
  readonly #credentials: S3Credentials | null;
  readonly #deadlines = new Deadlines(() => this.#answers());
  #signer: S3Client | null = null;

  constructor(config: S3Config, credentials: S3Credentials | null) {
    this.#credentials = credentials;
    this.bucket = config.bucket;
    this.config = config;
    this.client = new S3Client(clientOptions(config, credentials));
    signBodiesUnread(this.client);
  }

  /**
   * Makes the request, again while the trouble looks passing. What the service says is thrown as it is; use `translating`
   * around whatever asks.
   */
  async call<T>(call: Call, request: Request<T>): Promise<T> {
    const since = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(call, request);
      } catch (error) {
        call.signal?.throwIfAborted();
        const isLast = call.once === true || attempt >= this.config.attempts;
        if (isLast || !isTransient(error) || performance.now() - since > RETRY_MILLISECONDS_MAX) throw error;
        await sleep(RETRY_PAUSE_MILLISECONDS * 2 ** attempt * (0.5 + Math.random() / 2), undefined, {
          signal: call.signal,
        }).catch(() => undefined);
      }
    }
  }

  /** Signs for the name by which clients know the service; it never connects to it. */
  clientForAddresses(): S3Client {
    if (this.#signer === null) {
      const endpoint = this.config.publicEndpoint ?? this.config.endpoint;
      this.#signer = new S3Client({ ...clientOptions({ ...this.config, endpoint }, this.#credentials) });
    }
    return this.#signer;
  }

  close(): void {
    this.client.destroy();
    this.#signer?.destroy();
  }

  async #attempt<T>(call: Call, request: Request<T>): Promise<T> {
    const { signal } = call;
    signal?.throwIfAborted();
    const abort = new AbortController();
    const deadline = this.#deadlines.begin(this.#patienceFor(call), (seconds) =>
      abort.abort(new NoAnswer(seconds)),
    );
    const onAbort = (): void => abort.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await request(abort.signal, deadline.onProgress);
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      deadline.end();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #patienceFor({ bodyBytes = 0, serverSide }: Call): Patience {
    const alone = serverSide === true ? SERVER_SIDE_SECONDS_MAX : this.config.requestSecondsMax;
    const secondsMax = alone + Math.ceil(bodyBytes / BODY_BYTES_PER_SECOND_MIN);
    const answeredSecondsMax = bodyBytes > 0 ? secondsMax * PATIENCE_FACTOR : secondsMax;
    return { secondsMax, answeredSecondsMax };
  }

  async #answers(): Promise<boolean> {
    const abortSignal = AbortSignal.timeout(this.config.requestSecondsMax * 1000);
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }), { abortSignal });
      return true;
    } catch (error) {
      return statusOf(error) !== null;
    }
  }
}

export async function translating<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translated(error, action);
  }
}

function clientOptions(config: S3Config, credentials: S3Credentials | null): S3ClientConfig {
  const agent = { keepAlive: true, maxSockets: config.connectionsMax, maxFreeSockets: config.connectionsMax };
  return {
    region: config.region,
    forcePathStyle: config.pathStyle,
    ...(config.endpoint === null ? {} : { endpoint: config.endpoint }),
    ...(credentials === null
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey,
            ...(credentials.sessionToken === null ? {} : { sessionToken: credentials.sessionToken }),
          },
        }),
    // Older servers and several others refuse what the client would add by itself.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // A refusal before the body costs every body a round trip.
    expectContinueHeader: false,
    // Attempts are counted here: the client cannot send a list of blocks again.
    maxAttempts: 1,
    followRegionRedirects: false,
    requestHandler: {
      connectionTimeout: config.connectSecondsMax * 1000,
      socketAcquisitionWarningTimeout: 0,
      httpAgent: new DirectAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ...authority(config.caFile) }),
    },
  };
}

function authority(file: string | null): { ca?: string } {
  if (file === null) return {};
  try {
    return { ca: readFileSync(file, 'utf8') };
  } catch (error) {
    throw unavailable(`cannot read s3.ca_file ${file}: ${(error as Error).message}`, false);
  }
}

/**
 * A signature over the body would read every byte a second time, and most of what is sent is hashed for its digest
 * already: the service is told that the body is not part of the signature.
 */
function signBodiesUnread(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { request } = args as { request: { headers: Record<string, string> } };
      request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'signBodiesUnread', priority: 'low' },
  );
}

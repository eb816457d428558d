import { createHash, createHmac } from 'node:crypto';

export interface Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** GhostBay knows one region. */
const REGION = 'us-east-1';
const PAYLOAD = 'UNSIGNED-PAYLOAD';

/**
 * Headers of AWS Signature Version 4 for a request of S3, path style ("Authenticating Requests: Using the Authorization
 * Header"). `query` holds encoded names and values, sorted. The payload stays out: bodies are checked by their length and
 * the blob by its digest.
 */
export function signedHeaders(
  request: {
    readonly method: string;
    readonly host: string;
    readonly path: string;
    readonly query: string;
    readonly at: Date;
  },
  credentials: Credentials,
): Readonly<Record<string, string>> {
  const time = request.at.toISOString().replace(/[-:]|\.\d{3}/g, '');
  const day = time.slice(0, 8);
  const scope = `${day}/${REGION}/s3/aws4_request`;
  const names = 'host;x-amz-content-sha256;x-amz-date';
  const canonical = [
    request.method,
    request.path,
    request.query,
    `host:${request.host}`,
    `x-amz-content-sha256:${PAYLOAD}`,
    `x-amz-date:${time}`,
    '',
    names,
    PAYLOAD,
  ].join('\n');
  const hash = createHash('sha256').update(canonical).digest('hex');
  const keys = [day, REGION, 's3', 'aws4_request'];
  const signingKey = keys.reduce<Buffer>(hmac, Buffer.from(`AWS4${credentials.secretKey}`));
  const signature = hmac(signingKey, ['AWS4-HMAC-SHA256', time, scope, hash].join('\n')).toString('hex');
  return {
    'x-amz-content-sha256': PAYLOAD,
    'x-amz-date': time,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

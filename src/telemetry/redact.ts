/** Stands in the log where something secret was handed to it. */
const REDACTED = '[redacted]';

/** Fields that are never written, whoever logs them. */
const SECRET_FIELDS = [
  'authorization',
  'cookie',
  'password',
  'passwords',
  'secret',
  'secrets',
  'token',
  'access_token',
  'refresh_token',
  'privateKey',
  'config',
  'headers',
  'body',
];

const CREDENTIALS = /\b(Bearer|Basic)\s+[A-Za-z0-9\-._~+/]+=*/gi;
const USER_INFO = /(\/\/)[^/\s@]+@/g;
const CAUSES_MAX = 5;

/** pino asks these by field name, so they cost nothing on lines without such fields. */
export const serializers: Readonly<Record<string, (value: unknown) => unknown>> = {
  ...Object.fromEntries(SECRET_FIELDS.map((field) => [field, () => REDACTED])),
  err: (error) => serializeError(error, 0),
};

/** An error's own words and nothing else that somebody hung on it. */
function serializeError(error: unknown, depth: number): unknown {
  if (!(error instanceof Error)) return { message: scrub(String(error)) };
  const { code } = error as NodeJS.ErrnoException;
  return {
    type: error.name,
    message: scrub(error.message),
    stack: scrub(error.stack ?? ''),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.cause === undefined || depth >= CAUSES_MAX
      ? {}
      : { cause: serializeError(error.cause, depth + 1) }),
  };
}

function scrub(text: string): string {
  return text.replace(CREDENTIALS, `$1 ${REDACTED}`).replace(USER_INFO, `$1${REDACTED}@`);
}

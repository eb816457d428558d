import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { ERRORS } from '../../src/oci/error-codes.ts';
import { SeededRandom } from '../crash/seeded-random.ts';
import { ADMIN } from '../v2/v2-client.ts';
import { type AbusedRegistry, openAbusedRegistry } from './abused-registry.ts';
import { hostileBatch } from './hostile-grammar.ts';
import { type Batch, sendBatch } from './pipeline.ts';
import { type ScannedResponse, scanResponses } from './response-scanner.ts';

/** `ABUSE_SEED=… ABUSE_FIRST=batch ABUSE_REQUESTS=1` sends one batch again. */
const SEED = Number(process.env['ABUSE_SEED'] ?? Date.now() % 1_000_000_000);
const FIRST = Number(process.env['ABUSE_FIRST'] ?? 0);
const ANSWERS_MIN = Number(process.env['ABUSE_REQUESTS'] ?? 500_000);
const REQUESTS_OF_A_BATCH = 64;
const CONNECTIONS = 48;
const WIRE_CODES: ReadonlySet<string> = new Set(Object.values(ERRORS).map(({ wire }) => wire));

let registry: AbusedRegistry;
let secrets: RegExp;
before(async () => {
  registry = await openAbusedRegistry({ DRIFT_LIMITS_UPLOADS_OPEN: '2000', DRIFT_LIMITS_BODY_IDLE: '5s' });
  const { token = '' } = registry.places;
  const hidden = [ADMIN.password, token.split('.')[2], registry.drift.dataDirectory, process.cwd()];
  const words = [
    '\\$argon2',
    '\\bat \\S+ \\(',
    'node:internal',
    'node_modules',
    'SQLITE',
    'PRIVATE KEY',
    'drift\\.db',
  ];
  secrets = new RegExp([...hidden.map((text) => quoted(text ?? '')), ...words].join('|'));
});
after(() => registry[Symbol.asyncDispose]());

/** The answers, when nothing is wrong with them. */
async function send(batch: Batch): Promise<readonly ScannedResponse[]> {
  const { text, hung } = await sendBatch(registry.port, batch);
  assert.equal(hung, false, `the connection hangs after ${JSON.stringify(text.slice(-2000))}`);
  const leak = secrets.exec(text);
  assert.equal(leak, null, `an answer tells ${JSON.stringify(leak?.[0])}`);
  const { responses } = scanResponses(text);
  for (const response of responses) assertHarmless(response);
  return responses;
}

function assertHarmless({ status, head, body }: ScannedResponse): void {
  assert.ok(status < 500, `${status}: ${body.slice(0, 500)}`);
  if (status < 400 || body === '' || !/\r\ncontent-type: application\/json/i.test(head)) return;
  const { errors } = JSON.parse(body) as { readonly errors?: readonly { readonly code: string }[] };
  assert.ok(WIRE_CODES.has(errors?.[0]?.code ?? ''), body.slice(0, 200));
}

describe('hostile requests', () => {
  it('what was once found, sent again, does no harm', async () => {
    for (const file of globSync('test/abuse/corpus/*.json').sort()) {
      const { requests, sound, times = 1 } = JSON.parse(readFileSync(file, 'utf8')) as Entry;
      for (let count = 0; count < times; count++) {
        const [first = '', ...rest] = requests.map(registry.fill);
        // More and more of the second, so that what follows comes in other reads.
        const bytes =
          first +
          rest
            .slice(0, 1)
            .join('')
            .repeat(1 + count * 4) +
          rest.slice(1).join('');
        const responses = await send({ bytes, sound });
        assert.ok(responses.length > 0 || !sound, file);
      }
    }
    await registry.assertUnharmed();
  });

  it('half a million and more, generated and pipelined, crash nothing, hang nothing and tell no secret', async (t) => {
    t.diagnostic(`ABUSE_SEED=${SEED}`);
    const started = performance.now();
    const statuses = new Map<number, number>();
    let answers = 0;
    let next = FIRST;
    let failed = false;
    const attack = async (): Promise<void> => {
      while (answers < ANSWERS_MIN && !failed) {
        const number = next++;
        const batch = hostileBatch(
          new SeededRandom(SEED + number * 7919),
          REQUESTS_OF_A_BATCH,
          registry.fill,
        );
        try {
          const responses = await send(batch);
          answers += responses.length;
          for (const { status } of responses) statuses.set(status, (statuses.get(status) ?? 0) + 1);
        } catch (error) {
          failed = true;
          const replay = `ABUSE_SEED=${SEED} ABUSE_FIRST=${number} ABUSE_REQUESTS=1`;
          throw new Error(
            `batch ${number} (${replay}): ${JSON.stringify(batch.bytes.replaceAll(registry.places['token'] ?? '', '{token}'))}`,
            {
              cause: error,
            },
          );
        }
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, attack));
    const seconds = Math.round((performance.now() - started) / 1000);
    t.diagnostic(`${answers} answers to ${next - FIRST} batches in ${seconds} s: ${tell(statuses)}`);
    // What only ever hears 400 has not been far inside.
    if (ANSWERS_MIN > 100_000) {
      for (const status of [200, 201, 202, 206, 304, 400, 401, 404, 405, 416]) {
        assert.ok(statuses.has(status), `no ${status} among ${tell(statuses)}`);
      }
    }
    await registry.assertUnharmed();
  });
});

function quoted(text: string): string {
  return text.replace(/[^\w]/g, '\\$&');
}

interface Entry {
  readonly why: string;
  readonly requests: readonly string[];
  readonly sound: boolean;
  readonly times?: number;
}

function tell(statuses: ReadonlyMap<number, number>): string {
  return [...statuses]
    .sort(([a], [b]) => a - b)
    .map(([status, count]) => `${count} × ${status}`)
    .join(', ');
}

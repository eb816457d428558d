import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLoggers, type Loggers } from './logger.ts';

function record(filter: string, format: 'json' | 'pretty' = 'json'): { loggers: Loggers; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { loggers: createLoggers({ role: 'worker-1', filter, format, destination }), lines };
}

describe('loggers', () => {
  it('a filter, with a level for one subsystem, holds back the others', () => {
    const { loggers, lines } = record('warn,access=debug');
    loggers.logger('http').info('left out');
    loggers.logger('access').debug('written');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).msg),
      ['written'],
    );
  });

  it('a new filter, on loggers handed out before, holds from the next line', () => {
    const { loggers, lines } = record('off');
    const logger = loggers.logger('jobs');
    logger.error('before');
    loggers.setFilter('info');
    logger.info('after');
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /"role":"worker-1","subsystem":"jobs","msg":"after"/);
  });

  it('a secret, under any of its field names, is not written', () => {
    const { loggers, lines } = record('info');
    const secret = 'hunter2-hunter2';
    loggers.logger('access').info(
      {
        password: secret,
        authorization: `Basic ${secret}`,
        token: secret,
        refresh_token: secret,
        headers: { authorization: secret },
        secrets: { passwords: [secret] },
      },
      'login',
    );
    assert.doesNotMatch(lines.join(''), /hunter2/);
  });

  it('an error, with credentials in its text and fields, is written without them', () => {
    const { loggers, lines } = record('info');
    const error = Object.assign(new Error('GET https://me:hunter2@host/ with Bearer hunter2.abc failed'), {
      request: { password: 'hunter2' },
      cause: new Error('Basic aHVudGVyMg=='),
    });
    loggers.logger('http').error({ err: error }, 'failed');
    assert.doesNotMatch(lines.join(''), /hunter2|aHVudGVyMg/);
    assert.match(lines.join(''), /https:\/\/\[redacted\]@host\/ with Bearer \[redacted\] failed/);
  });

  it('a pretty line, with control characters from a client, does not steer the terminal', () => {
    const { loggers, lines } = record('info', 'pretty');
    loggers.logger('http').info({ userAgent: 'a\u001b[2J\u009bb\nc' }, 'request\u0007');
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      /^\d\d:\d\d:\d\d\.\d{3} INFO {2}http request\\u0007 {2}userAgent=a\\u001b\[2J\\u009bb\\nc\n$/,
    );
  });

  it('a pretty line, with an error, shows its stack below', () => {
    const { loggers, lines } = record('info', 'pretty');
    loggers.logger('jobs').error({ err: new Error('no room') }, 'job failed');
    const [first = '', second = ''] = (lines[0] ?? '').split('\n');
    assert.match(first, /ERROR jobs job failed$/);
    assert.equal(second, '    Error: no room');
  });
});

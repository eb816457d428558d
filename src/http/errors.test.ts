import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RegistryError } from '../oci/error-codes.ts';
import { Unavailable } from '../std/unavailable.ts';
import type { Reply } from './call.ts';
import { renderError } from './errors.ts';

const CONTEXT = { baseUrl: 'https://r.example', service: 'drift "x"', requestId: 'id-12345' };

function bodyOf(reply: Reply): { code: string; message: string; detail: unknown } {
  assert.equal(reply.body.kind, 'json');
  const { errors } = (
    reply.body as { value: { errors: { code: string; message: string; detail: unknown }[] } }
  ).value;
  assert.equal(errors.length, 1);
  return errors[0] as { code: string; message: string; detail: unknown };
}

test('renderError, UNAUTHORIZED with a challenge, names realm, service, scope and error in one Bearer scheme', () => {
  const error = new RegistryError('UNAUTHORIZED', null, {
    challenge: { scope: 'repository:a:pull repository:b:pull', error: 'invalid_token' },
  });
  const reply = renderError(error, CONTEXT);
  assert.equal(reply.status, 401);
  assert.equal(
    reply.headers['WWW-Authenticate'],
    'Bearer realm="https://r.example/token",service="drift \\"x\\"",scope="repository:a:pull repository:b:pull",error="invalid_token"',
  );
  assert.equal(bodyOf(reply).code, 'UNAUTHORIZED');
});

test('renderError, DENIED without a challenge, is 403 without one', () => {
  const reply = renderError(new RegistryError('DENIED', 'no', { detail: { by: 'rule' } }), CONTEXT);
  assert.equal(reply.status, 403);
  assert.equal(reply.headers['WWW-Authenticate'], undefined);
  assert.deepEqual(bodyOf(reply), { code: 'DENIED', message: 'no', detail: { by: 'rule' } });
});

test('renderError, headers and a delay of the error, are kept', () => {
  const error = new RegistryError('TOOMANYREQUESTS', null, {
    retryAfterSeconds: 1.2,
    headers: { 'X-A': 'b' },
  });
  const reply = renderError(error, CONTEXT);
  assert.equal(reply.status, 429);
  assert.equal(reply.headers['Retry-After'], '2');
  assert.equal(reply.headers['X-A'], 'b');
});

test('renderError, Unavailable, is 503 with Retry-After and without its own text', () => {
  const reply = renderError(new Unavailable('meta store', '/secret/path', { retryable: true }), CONTEXT);
  assert.equal(reply.status, 503);
  assert.ok(Number(reply.headers['Retry-After']) > 0);
  const body = bodyOf(reply);
  assert.equal(body.code, 'UNAVAILABLE');
  assert.match(body.message, /meta store/);
  assert.doesNotMatch(JSON.stringify(reply), /secret/);
});

test('renderError, a full device, is 507', () => {
  const error = new Unavailable('blob store', 'ENOSPC', { retryable: false, full: true });
  assert.equal(renderError(error, CONTEXT).status, 507);
});

test('renderError, anything else, is 500 with the request id and nothing of the error', () => {
  const reply = renderError(new TypeError('/etc/passwd is not a function'), CONTEXT);
  assert.equal(reply.status, 500);
  assert.deepEqual(bodyOf(reply).detail, { requestId: 'id-12345' });
  assert.doesNotMatch(JSON.stringify(reply), /passwd/);
});

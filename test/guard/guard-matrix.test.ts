import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Need } from '../../src/access/need.ts';
import type { RouteKind } from '../../src/http/v2/path.ts';
import { type Method, type RouteRow, V2_ROUTES } from '../../src/http/v2/route.ts';
import type { Answer } from '../v2/v2-client.ts';
import { sha256 } from '../v2/v2-client.ts';
import type { V2Server } from '../v2/v2-server.ts';
import { CALLERS, type MatrixCaller, ORGANISATION, type Standing, startMatrixWorld } from './callers.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const satisfies readonly Method[];
const EXISTING = `${ORGANISATION}/app`;
const MISSING = `${ORGANISATION}/missing`;
const UNKNOWN = sha256('nowhere');

interface Cell {
  readonly row: RouteRow<RouteKind>;
  readonly method: Method;
  /** Null: the table has no such method here. */
  readonly need: Need | null;
}

const CELLS: readonly Cell[] = Object.values(V2_ROUTES).flatMap((each) => {
  const row = each as RouteRow<RouteKind>;
  return METHODS.map((method) => ({ row, method, need: row.methods[method]?.need ?? null }));
});

/** The path of a row in this repository. What it names last is not there, so that a caller who may changes nothing. */
function pathOf(row: RouteRow<RouteKind>, repository: string, last: string = UNKNOWN): string {
  return row.pattern
    .replace('<name>', repository)
    .replace('<digest>', last)
    .replace('<reference>', last)
    .replace('<id>', '00000000-0000-4000-8000-000000000000');
}

/** What has to come back, from who the caller is and what the row declares. `through`: the desk answers, not the guard. */
type Expected = 'through' | 'not allowed' | 401 | 403;

function expectedOf(standing: Standing, { need, row }: Cell): Expected {
  if (standing.kind === 'refused') return 401;
  if (standing.kind === 'nobody') return 401;
  const inRepository = row.pattern.includes('<name>');
  if (need === null) {
    // Whether a repository has such a method is told to those who may see it.
    if (!inRepository) return 'not allowed';
    if (standing.kind === 'narrow') return 401;
    return standing.may.includes('pull') || standing.may.includes('push') ? 'not allowed' : 403;
  }
  switch (need.kind) {
    case 'open':
    case 'authenticated':
      return 'through';
    case 'catalog':
      return standing.kind === 'narrow' ? 401 : 'through';
    case 'repository': {
      if (standing.kind === 'narrow') return 401;
      const enough = [need.action, ...(need.orAction === undefined ? [] : [need.orAction])];
      return enough.some((action) => standing.may.includes(action)) ? 'through' : 403;
    }
  }
}

/** The scope that a client has to be told to ask for: pushing clients read too, so theirs has both. */
function scopeOf({ need, row }: Cell, repository: string): string | null {
  if (need?.kind === 'catalog') return 'registry:catalog:*';
  if (!row.pattern.includes('<name>')) return null;
  // A method that the path does not have asks for what any reader or pusher has.
  if (need?.kind !== 'repository') return `repository:${repository}:pull,push`;
  const asksPush = need.action === 'push' || need.orAction === 'push';
  return `repository:${repository}:${asksPush ? 'pull,push' : need.action}`;
}

function assertChallenge(answer: Answer, wanted: { scope: string | null; error: string | null }): void {
  const challenges = answer.rawHeaders.filter(
    (_, i) => i % 2 === 1 && isChallengeName(answer.rawHeaders[i - 1]),
  );
  assert.equal(challenges.length, 1, 'one challenge, one scheme');
  const match = /^Bearer (.*)$/.exec(challenges[0] ?? '');
  const parameters = new Map(
    [...(match?.[1] ?? '').matchAll(/([a-z]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
  );
  assert.match(parameters.get('realm') ?? '', /^http:\/\/127\.0\.0\.1:\d+\/token$/);
  assert.equal(parameters.get('service'), 'drift-registry');
  assert.equal(parameters.get('scope') ?? null, wanted.scope);
  assert.equal(parameters.get('error') ?? null, wanted.error);
}

function isChallengeName(name: string | undefined): boolean {
  return name?.toLowerCase() === 'www-authenticate';
}

function errorOf(standing: Standing): string | null {
  if (standing.kind === 'narrow') return 'insufficient_scope';
  return standing.kind === 'refused' ? standing.error : null;
}

function assertExpected(answer: Answer, expected: Expected): void {
  if (expected === 'not allowed') assert.equal(answer.status, 405);
  else if (expected === 'through') {
    assert.ok(![401, 403, 405].includes(answer.status), `refused with ${answer.status}`);
    assert.ok(answer.status < 500, `failed with ${answer.status}`);
  } else {
    assert.equal(answer.status, expected);
    if (answer.body.length > 0) assert.equal(answer.code, expected === 401 ? 'UNAUTHORIZED' : 'DENIED');
  }
}

async function send(world: V2Server, caller: MatrixCaller, method: Method, path: string): Promise<Answer> {
  const authorization = await caller.authorize(world);
  return world.client.send(method, path, {
    as: null,
    headers: authorization === null ? {} : { authorization },
  });
}

/** What of an answer may differ between two repositories: the name that the caller sent, and the request itself. */
function alike(answer: Answer, repository: string): unknown {
  const { date: _, 'x-request-id': __, ...headers } = answer.headers;
  const text = JSON.stringify({ status: answer.status, headers, body: answer.body.toString() });
  return text.replaceAll(repository, '<name>').replace(/"content-length":"\d+",?/, '');
}

describe('the route table', () => {
  it('a route × method, whatever it is, declares no weaker need than its method has by nature', () => {
    for (const { row, method, need } of CELLS) {
      if (need === null) continue;
      const where = `${method} ${row.pattern}`;
      assert.notEqual(need.kind, 'open', where);
      assert.equal(need.kind === 'repository', row.pattern.includes('<name>'), where);
      if (need.kind !== 'repository') assert.ok(method === 'GET' || method === 'HEAD', where);
      else if (method === 'DELETE' && row.kind !== 'upload') assert.equal(need.action, 'delete', where);
      else if (['POST', 'PUT', 'PATCH', 'DELETE'].includes(method)) assert.equal(need.action, 'push', where);
      if (need.kind === 'repository' && need.orAction !== undefined) {
        assert.deepEqual([need.action, need.orAction], ['pull', 'push'], where);
        assert.ok(method === 'HEAD' || row.kind === 'repositoryDiscover', `${where} lets pushers read`);
      }
    }
  });
});

for (const caller of CALLERS) {
  describe(`guard, ${caller.label}`, { concurrency: caller.atOnce }, () => {
    let world: V2Server;
    let image: { readonly digest: string; readonly layer: string };
    before(async () => {
      world = await startMatrixWorld();
      image = await world.client.pushImage(EXISTING, 'latest');
    });
    after(() => world?.stop());

    for (const cell of CELLS) {
      const { row, method } = cell;
      const expected = expectedOf(caller.standing, cell);
      it(`${method} ${row.pattern}, ${caller.label}, is answered: ${expected}`, async () => {
        for (const repository of row.pattern.includes('<name>') ? [EXISTING, MISSING] : [EXISTING]) {
          const answer = await send(world, caller, method, pathOf(row, repository));
          assertExpected(answer, expected);
          const scope = scopeOf(cell, repository);
          if (expected === 401) assertChallenge(answer, { scope, error: errorOf(caller.standing) });
          else assert.equal(answer.headers['www-authenticate'], undefined);
        }
      });
    }

    const hidden = CELLS.filter(({ row }) => row.pattern.includes('<name>')).filter((cell) =>
      [401, 403].includes(Number(expectedOf(caller.standing, cell))),
    );
    if (hidden.length === 0) return;
    it(`${caller.label}, where the guard refuses, cannot tell what is there from what is not`, async () => {
      const compare = async ({ row, method }: Cell) => {
        const last = row.kind === 'blob' ? image.layer : image.digest;
        const there = await send(world, caller, method, pathOf(row, EXISTING, last));
        const gone = await send(world, caller, method, pathOf(row, MISSING, last));
        assert.deepEqual(alike(there, EXISTING), alike(gone, MISSING), `${method} ${row.pattern}`);
      };
      for (let i = 0; i < hidden.length; i += caller.atOnce) {
        await Promise.all(hidden.slice(i, i + caller.atOnce).map(compare));
      }
      const { status } = await world.client.send('GET', `/v2/${EXISTING}/manifests/${image.digest}`);
      assert.equal(status, 200, 'nothing was removed');
    });
  });
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { RawClient } from '../../test/harness/door-world.ts';
import { lingerThenEnd } from './linger.ts';

type Limits = Parameters<typeof lingerThenEnd>[2];

/** A server that refuses every body at once; gives the port and a promise for the end of the first linger. */
async function openRefusing(limits: Limits) {
  const lingered = Promise.withResolvers<void>();
  const server = createServer((message, response) => {
    response.shouldKeepAlive = false;
    response.writeHead(413, { 'Content-Length': '3' });
    response.write('no!');
    lingerThenEnd(message, response, limits).then(lingered.resolve, lingered.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, lingered: lingered.promise, server };
}

const HEAD = 'PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 1000000000\r\n\r\n';

test('lingerThenEnd, a client that sends without end, is closed after the byte limit', async () => {
  const { port, lingered, server } = await openRefusing({ bytesMax: 1024 * 1024, millisecondsMax: 60_000 });
  const client = await RawClient.open(port);
  client.send(HEAD);
  await client.until(/no!$/);
  client.send(Buffer.alloc(4 * 1024 * 1024));
  await lingered;
  await client.untilClosed();
  server.closeAllConnections();
  server.close();
});

test('lingerThenEnd, a client that sends nothing more, is closed after the time limit', async () => {
  const { port, lingered, server } = await openRefusing({ bytesMax: 1024, millisecondsMax: 50 });
  const client = await RawClient.open(port);
  client.send(HEAD);
  await lingered;
  assert.match(await client.untilClosed(), /^HTTP\/1\.1 413 [^]*no!$/);
  server.closeAllConnections();
  server.close();
});

import cluster from 'node:cluster';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

/** `bare-node-program.ts PORT WORKERS FILE` */
const [port, workers, file] = process.argv.slice(2);

if (cluster.isPrimary) {
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.kill('SIGKILL');
    process.exit(0);
  });
  for (let count = Number(workers); count > 0; count -= 1) cluster.fork();
} else {
  const bytes = readFileSync(file ?? '');
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(bytes.length)];
  const server = createServer({ noDelay: true }, (_request, response) => {
    response.writeHead(200, headers).end(bytes);
  });
  server.listen(Number(port), '127.0.0.1');
}

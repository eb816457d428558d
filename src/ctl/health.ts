import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ConfigError, formatProblems } from '../config/config-error.ts';
import { readConfig } from '../config/read.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';

const ANSWER_MILLISECONDS_MAX = 4_000;
const WILDCARDS: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** `drift health`: asks the registry that this configuration describes whether it answers; for container health checks. */
export async function runHealth(args: ConfigCommandArgs): Promise<ExitCode> {
  try {
    const { config } = readConfig(args);
    const { host, port } = config.server.bind;
    const status = await ask({ host: WILDCARDS[host] ?? host, port, secure: config.tls !== null });
    args.stdout.write(status === 200 ? 'Healthy.\n' : `Not healthy: /healthz answers ${status}.\n`);
    return status === 200 ? EXIT.OK : EXIT.FAILED;
  } catch (error) {
    if (error instanceof ConfigError) {
      args.stderr.write(formatProblems(error));
      return EXIT.CONFIG;
    }
    args.stderr.write(`Not healthy: ${error instanceof Error ? error.message : String(error)}.\n`);
    return EXIT.FAILED;
  }
}

function ask(where: { host: string; port: number; secure: boolean }): Promise<number> {
  const { host, port, secure } = where;
  return new Promise((resolve, reject) => {
    // Our own address on this machine: whether others trust the certificate is not the question here.
    const options = {
      host,
      port,
      path: '/healthz',
      timeout: ANSWER_MILLISECONDS_MAX,
      rejectUnauthorized: false,
    };
    const request = (secure ? httpsRequest : httpRequest)(options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MILLISECONDS_MAX} ms`)));
    request.on('error', reject);
    request.end();
  });
}

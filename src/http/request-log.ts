import type { Metrics, Telemetry } from '../telemetry/telemetry.ts';
import type { Exchange } from './exchange.ts';

const PATH_LENGTH_MAX = 512;
const USER_AGENT_LENGTH_MAX = 200;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

export interface RequestOutcome {
  readonly status: number;
  readonly bytesOut: number;
  /** The reply did not reach its end. */
  readonly cut: 'client_gone' | 'broken' | null;
  /** What went wrong here and needs somebody to look at it; null otherwise. */
  readonly fault: unknown;
}

/** One line and one sample per request. Neither holds a header with credentials nor a query. */
export function recordRequest(
  deps: { readonly log: ReturnType<Telemetry['logger']>; readonly metrics: Metrics },
  exchange: Exchange,
  outcome: RequestOutcome,
): void {
  const seconds = (performance.now() - exchange.startedAt) / 1000;
  const method = METHODS.has(exchange.method) ? exchange.method : 'OTHER';
  deps.metrics.requestFinished({
    route: exchange.routeClass,
    method,
    status: outcome.status,
    seconds,
    bytesIn: exchange.bytesIn,
    bytesOut: outcome.bytesOut,
  });
  const failed = outcome.fault !== null;
  if (!deps.log.isLevelEnabled(failed ? 'error' : 'info')) return;
  const line: Record<string, unknown> = {
    ...exchange.notes,
    requestId: exchange.requestId,
    method: exchange.method,
    path: printable(exchange.path, PATH_LENGTH_MAX),
    route: exchange.routeClass,
    status: outcome.status,
    principal: exchange.principalName,
    bytesIn: exchange.bytesIn,
    bytesOut: outcome.bytesOut,
    seconds: Math.round(seconds * 1e6) / 1e6,
    address: exchange.address,
    userAgent: printable(exchange.headers['user-agent'] ?? '', USER_AGENT_LENGTH_MAX),
  };
  if (exchange.repository !== null) line.repository = exchange.repository;
  if (outcome.cut !== null) line.cut = outcome.cut;
  if (failed) deps.log.error({ ...line, err: outcome.fault }, 'request');
  else deps.log.info(line, 'request');
}

/** Cut, and with everything but visible ASCII escaped: the text is the client's. */
function printable(text: string, lengthMax: number): string {
  const cut = text.length > lengthMax ? `${text.slice(0, lengthMax)}…` : text;
  return cut.replace(/[^\x20-\x7e…]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

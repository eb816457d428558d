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
  deps: {
    readonly log: ReturnType<Telemetry['logger']>;
    readonly writeLine: Telemetry['writeLine'];
    readonly metrics: Metrics;
  },
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
  const fields = fieldsOf(exchange, outcome, seconds);
  if (failed) deps.log.error({ ...(JSON.parse(`{${fields}}`) as object), err: outcome.fault }, 'request');
  else deps.writeLine('http', fields, 'request');
}

/** The fields of the line as JSON, without braces: written by hand, as this is done for every request. */
function fieldsOf(exchange: Exchange, outcome: RequestOutcome, seconds: number): string {
  const { notes, repository } = exchange;
  // A request id and a repository's name hold nothing that JSON escapes.
  let fields = `"requestId":"${exchange.requestId}","method":${quoted(exchange.method)}`;
  fields += `,"path":${printable(exchange.path, PATH_LENGTH_MAX)},"route":"${exchange.routeClass}"`;
  fields += `,"status":${outcome.status},"principal":${quoted(exchange.principalName)}`;
  fields += `,"bytesIn":${exchange.bytesIn},"bytesOut":${outcome.bytesOut}`;
  fields += `,"seconds":${Math.round(seconds * 1e6) / 1e6},"address":${quoted(exchange.address)}`;
  fields += `,"userAgent":${printable(exchange.headers['user-agent'] ?? '', USER_AGENT_LENGTH_MAX)}`;
  if (repository !== null) fields += `,"repository":"${repository}"`;
  for (const name in notes) {
    const value = notes[name];
    // The route's own name of the repository stands there already.
    if (value === undefined || (name === 'repository' && repository !== null)) continue;
    fields += `,"${name}":${typeof value === 'number' ? value : quoted(value)}`;
  }
  return outcome.cut === null ? fields : `${fields},"cut":"${outcome.cut}"`;
}

/** Printable ASCII without quote and backslash. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** Cut, with everything but visible ASCII escaped, and quoted: the text is the client's. */
function printable(text: string, lengthMax: number): string {
  const cut = text.length > lengthMax ? `${text.slice(0, lengthMax)}…` : text;
  if (PLAIN.test(cut)) return `"${cut}"`;
  const escaped = cut.replace(/[^\x20-\x7e…]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return JSON.stringify(escaped);
}

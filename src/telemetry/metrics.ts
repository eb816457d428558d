import { AggregatorRegistry, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { asMetric, CounterCells, HistogramCells } from './cells.ts';
import type { Metrics } from './telemetry.ts';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const OPERATION_SECONDS = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5];

export interface MetricsOptions {
  readonly version: string;
}

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const cells = createCells();
  const keys = new RequestKeys();
  for (const metric of Object.values(cells)) registry.registerMetric(asMetric(metric));
  const uploads = new Gauge({
    name: 'drift_uploads_in_flight',
    help: 'Requests that are writing to an upload right now.',
    registers: [registry],
  });
  new Gauge({
    name: 'drift_build_info',
    help: 'Always 1; the labels say what is running.',
    labelNames: ['version', 'node'],
    aggregator: 'first',
    registers: [registry],
  }).set({ version: options.version, node: process.versions.node }, 1);
  const tiers = createTierGauges(registry);
  return {
    requestFinished(sample) {
      const { route, method, status } = sample;
      const known = keys.of(route, METHODS.has(method) ? method : 'other');
      cells.requests.add(known.withStatus(status), 1);
      cells.durations.observe(known.key, sample.seconds);
      cells.received.add(route, sample.bytesIn);
      cells.sent.add(route, sample.bytesOut);
    },
    uploadStarted: () => uploads.inc(),
    uploadEnded: () => uploads.dec(),
    storeOperation(driver, operation, outcome, seconds) {
      cells.store.observe(`${driver} ${operation} ${outcome}`, seconds);
    },
    metaOperation(driver, operation, outcome, seconds) {
      cells.meta.observe(`${driver} ${operation} ${outcome}`, seconds);
    },
    tier: (event) => cells.tiers.add(event, 1),
    ...tiers,
    login: (outcome) => cells.logins.add(outcome, 1),
    exposition: () => registry.metrics(),
    snapshot: () => registry.getMetricsAsJSON(),
  };
}

/** The keys of a request's cells, joined once: a text that is put together for each request has to be hashed for each. */
class RequestKeys {
  readonly #byRoute = new Map<string, Map<string, RequestKey>>();

  of(route: string, method: string): RequestKey {
    let byMethod = this.#byRoute.get(route);
    if (byMethod === undefined) {
      byMethod = new Map();
      this.#byRoute.set(route, byMethod);
    }
    let key = byMethod.get(method);
    if (key === undefined) {
      key = new RequestKey(`${route} ${method}`);
      byMethod.set(method, key);
    }
    return key;
  }
}

class RequestKey {
  readonly key: string;
  readonly #byStatus = new Map<number, string>();

  constructor(key: string) {
    this.key = key;
  }

  withStatus(status: number): string {
    let key = this.#byStatus.get(status);
    if (key === undefined) {
      key = `${this.key} ${status}`;
      this.#byStatus.set(status, key);
    }
    return key;
  }
}

function createCells() {
  return {
    requests: new CounterCells({
      name: 'drift_http_requests_total',
      help: 'Requests answered.',
      labels: ['route', 'method', 'code'],
    }),
    durations: new HistogramCells(
      {
        name: 'drift_http_request_duration_seconds',
        help: 'From the first byte of a request to the last byte of its answer.',
        labels: ['route', 'method'],
      },
      REQUEST_SECONDS,
    ),
    received: new CounterCells({
      name: 'drift_http_received_bytes_total',
      help: 'Bytes of request bodies.',
      labels: ['route'],
    }),
    sent: new CounterCells({
      name: 'drift_http_sent_bytes_total',
      help: 'Bytes of response bodies.',
      labels: ['route'],
    }),
    store: new HistogramCells(
      {
        name: 'drift_blob_store_operation_seconds',
        help: 'Operations of the blob store.',
        labels: ['driver', 'operation', 'outcome'],
      },
      OPERATION_SECONDS,
    ),
    meta: new HistogramCells(
      {
        name: 'drift_meta_store_operation_seconds',
        help: 'Reads, transactions and syncs of the database.',
        labels: ['driver', 'operation', 'outcome'],
      },
      OPERATION_SECONDS,
    ),
    tiers: new CounterCells({
      name: 'drift_tier_events_total',
      help: 'What the tiers of the blob store did.',
      labels: ['event'],
    }),
    logins: new CounterCells({
      name: 'drift_logins_total',
      help: 'Passwords checked: ok, wrong, or slowed after failures.',
      labels: ['outcome'],
    }),
  };
}

/** Set by the one process that looks after the tiers, and shown only where there are tiers. */
function createTierGauges(registry: Registry): Pick<Metrics, 'tierBacklog' | 'tierCopies'> {
  const setters = new Map<string, (value: number) => void>();
  const set = (name: string, help: string, value: number): void => {
    let setter = setters.get(name);
    if (setter === undefined) {
      const gauge = new Gauge({ name, help, registers: [registry] });
      setter = (to) => gauge.set(to);
      setters.set(name, setter);
    }
    setter(value);
  };
  return {
    tierBacklog(blobs, bytes) {
      set('drift_tier_backlog_blobs', 'Blobs that wait for the cold tier.', blobs);
      set('drift_tier_backlog_bytes', 'Bytes that wait for the cold tier.', bytes);
    },
    tierCopies(blobs, bytes) {
      set('drift_tier_copies_blobs', 'Copies of blobs in the hot tier.', blobs);
      set('drift_tier_copies_bytes', 'Bytes of copies in the hot tier.', bytes);
    },
  };
}

/** One exposition out of the snapshots of several processes. */
export async function mergeSnapshots(snapshots: readonly unknown[]): Promise<string> {
  // What came from another process was made by `snapshot` of the same version of this program.
  const merged = AggregatorRegistry.aggregate(snapshots as object[]);
  return merged.metrics();
}

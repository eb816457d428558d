import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMetrics, mergeSnapshots } from './metrics.ts';

const REQUEST = { route: 'v2_blob', method: 'GET', status: 200, seconds: 0.004, bytesIn: 1, bytesOut: 1000 };

/** The value of one line of an exposition; null when there is no such line. */
function valueOf(text: string, series: string): number | null {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
}

describe('metrics', () => {
  it('requestFinished, called twice, counts requests, bytes and durations', async () => {
    const metrics = createMetrics({ version: '1.2.3' });
    metrics.requestFinished(REQUEST);
    metrics.requestFinished({ ...REQUEST, seconds: 400 });
    const text = await metrics.exposition();
    assert.equal(valueOf(text, 'drift_http_requests_total{route="v2_blob",method="GET",code="200"}'), 2);
    assert.equal(valueOf(text, 'drift_http_sent_bytes_total{route="v2_blob"}'), 2000);
    assert.equal(valueOf(text, 'drift_http_received_bytes_total{route="v2_blob"}'), 2);
    const bucket = (le: string): string =>
      `drift_http_request_duration_seconds_bucket{le="${le}",route="v2_blob",method="GET"}`;
    assert.equal(valueOf(text, bucket('0.0025')), 0);
    assert.equal(valueOf(text, bucket('0.005')), 1);
    assert.equal(valueOf(text, bucket('300')), 1);
    assert.equal(valueOf(text, bucket('+Inf')), 2);
    assert.equal(valueOf(text, 'drift_http_request_duration_seconds_count{route="v2_blob",method="GET"}'), 2);
  });

  it('requestFinished, with invented methods, makes one series of them', async () => {
    const metrics = createMetrics({ version: '1.2.3' });
    for (const method of ['BREW', 'PROPFIND']) metrics.requestFinished({ ...REQUEST, method });
    const text = await metrics.exposition();
    assert.equal(valueOf(text, 'drift_http_requests_total{route="v2_blob",method="other",code="200"}'), 2);
    assert.doesNotMatch(text, /BREW|PROPFIND/);
  });

  it('requestFinished, with more routes than there can be, stays bounded', async () => {
    const metrics = createMetrics({ version: '1.2.3' });
    for (let number = 0; number < 10_000; number += 1) {
      metrics.requestFinished({ ...REQUEST, route: `route-${number}` });
    }
    const lines = (await metrics.exposition()).split('\n');
    assert.ok(lines.filter((line) => line.startsWith('drift_http_requests_total{')).length <= 4_000);
  });

  it('uploads in flight, begun and ended, are what is left', async () => {
    const metrics = createMetrics({ version: '1.2.3' });
    metrics.uploadStarted();
    metrics.uploadStarted();
    metrics.uploadEnded();
    assert.equal(valueOf(await metrics.exposition(), 'drift_uploads_in_flight'), 1);
  });

  it('mergeSnapshots, of two processes, adds counters, gauges and buckets and keeps the build once', async () => {
    const processes = [createMetrics({ version: '1.2.3' }), createMetrics({ version: '1.2.3' })];
    for (const metrics of processes) {
      metrics.requestFinished(REQUEST);
      metrics.uploadStarted();
      metrics.login('wrong');
      metrics.metaOperation('sqlite', 'sync', 'ok', 0.002);
      metrics.storeOperation('fs', 'commit', 'error', 0.2);
    }
    const snapshots = await Promise.all(processes.map((metrics) => metrics.snapshot()));
    // As they come out of a channel between processes.
    const text = await mergeSnapshots(structuredClone(snapshots));
    assert.equal(valueOf(text, 'drift_http_requests_total{route="v2_blob",method="GET",code="200"}'), 2);
    assert.equal(valueOf(text, 'drift_uploads_in_flight'), 2);
    assert.equal(valueOf(text, 'drift_logins_total{outcome="wrong"}'), 2);
    const build = `drift_build_info{version="1.2.3",node="${process.versions.node}"}`;
    assert.equal(valueOf(text, build), 1);
    const sync = 'driver="sqlite",operation="sync",outcome="ok"';
    assert.equal(valueOf(text, `drift_meta_store_operation_seconds_bucket{le="0.0025",${sync}}`), 2);
    const commit = 'driver="fs",operation="commit",outcome="error"';
    assert.equal(valueOf(text, `drift_blob_store_operation_seconds_count{${commit}}`), 2);
  });
});

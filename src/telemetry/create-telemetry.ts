import { createLoggers, type Loggers, type LoggersOptions } from './logger.ts';
import { createMetrics } from './metrics.ts';
import type { Telemetry } from './telemetry.ts';

export interface TelemetryOptions extends LoggersOptions {
  readonly version: string;
}

export type ProcessTelemetry = Telemetry & Pick<Loggers, 'setFilter' | 'flush'>;

/** The telemetry of one process. */
export function createTelemetry(options: TelemetryOptions): ProcessTelemetry {
  const loggers = createLoggers(options);
  return { ...loggers, metrics: createMetrics({ version: options.version }) };
}

import { fstatSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import { readLevels } from './level-filter.ts';
import { prettyLine } from './pretty-lines.ts';
import { serializers } from './redact.ts';
import type { Subsystem } from './telemetry.ts';

export interface LoggersOptions {
  /** `primary`, `worker-2`, `jobs`: every line carries it. */
  readonly role: string;
  /** What people call this node: likewise, where it is given. */
  readonly node?: string;
  readonly filter: string;
  readonly format: 'json' | 'pretty' | 'auto';
  /** Standard output when absent. */
  readonly destination?: DestinationStream;
}

export interface Loggers {
  logger(subsystem: Subsystem): Logger;
  /** An `info` line whose fields are JSON already (`"a":1,"b":"c"`), level or not: what each request writes has to cost little. */
  writeLine(subsystem: Subsystem, fields: string, message: string): void;
  /** Takes effect on the next line of every logger handed out. */
  setFilter(filter: string): void;
  /** Writes what is buffered; for the last moment of a process. */
  flush(): void;
}

const STDOUT = 1;
/** Bytes in one write: several processes share the pipe, and a pipe keeps writes of up to this size apart (PIPE_BUF). */
const PIPE_WRITE_BYTES_MAX = 4096;
/** The same for a file, which keeps writes of any size apart. */
const FILE_WRITE_BYTES_MAX = 64 * 1024;
/** Lines of requests wait so long for others: each write wakes two threads, which costs more than the line. */
const GATHER_MILLISECONDS = 10;
const INFO = 30;

export function createLoggers(options: LoggersOptions): Loggers {
  let levels = readLevels(options.filter);
  const { stream, gather, flush } = openDestination(options);
  const base = {
    pid: process.pid,
    role: options.role,
    ...(options.node === undefined ? {} : { node: options.node }),
  };
  const root = pino({ base, serializers, level: 'trace' }, stream);
  const lineBase = JSON.stringify(base).slice(1, -1);
  const loggers = new Map<Subsystem, Logger>();
  return {
    logger(subsystem) {
      const known = loggers.get(subsystem);
      if (known !== undefined) return known;
      const made = root.child({ subsystem }, { level: levels(subsystem) });
      loggers.set(subsystem, made);
      return made;
    },
    writeLine(subsystem, fields, message) {
      gather(
        `{"level":${INFO},"time":${Date.now()},${lineBase},"subsystem":"${subsystem}",${fields},"msg":"${message}"}\n`,
      );
    },
    setFilter(filter) {
      levels = readLevels(filter);
      for (const [subsystem, logger] of loggers) logger.level = levels(subsystem);
    },
    flush,
  };
}

interface Destination {
  readonly stream: DestinationStream;
  /** Like `stream.write`, but the line may wait a moment for others. */
  readonly gather: (line: string) => void;
  readonly flush: () => void;
}

function openDestination(options: LoggersOptions): Destination {
  const { destination, format } = options;
  const onTerminal = destination === undefined && isatty(STDOUT);
  if (format === 'pretty' || (format === 'auto' && onTerminal)) {
    const write = (text: string): void => {
      if (destination === undefined) writeAll(text);
      else destination.write(text);
    };
    return atOnce({ write: (line) => write(prettyLine(line, onTerminal)) });
  }
  return destination === undefined ? standardOutput() : atOnce(destination);
}

function atOnce(stream: DestinationStream): Destination {
  return { stream, gather: (line) => stream.write(line), flush: () => {} };
}

function standardOutput(): Destination {
  const maxWrite = fstatSync(STDOUT).isFile() ? FILE_WRITE_BYTES_MAX : PIPE_WRITE_BYTES_MAX;
  const output = pino.destination({ dest: STDOUT, sync: false, maxWrite });
  let gathered = '';
  const writeGathered = (): void => {
    if (gathered !== '') output.write(gathered);
    gathered = '';
  };
  return {
    stream: {
      write(line) {
        writeGathered();
        output.write(line);
      },
    },
    gather(line) {
      if (gathered.length + line.length > maxWrite) writeGathered();
      if (gathered === '') setTimeout(writeGathered, GATHER_MILLISECONDS).unref();
      gathered += line;
    },
    flush() {
      writeGathered();
      output.flushSync();
    },
  };
}

function writeAll(text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(STDOUT, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
    }
  }
}

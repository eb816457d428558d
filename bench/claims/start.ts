import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { alternate, atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { seedLedger } from '../seed.ts';
import { startDrift } from '../servers/drift.ts';
import { newDirectory } from '../servers/server.ts';

const BLOBS = 5_000_000;
const SECONDS_MAX = 1;
const POLL_MILLISECONDS = 20;

export const start: Claim = {
  name: 'start',
  title: `start with 5,000,000 blob rows and with an empty ledger`,
  async run({ rounds, scale }) {
    const full = { name: 'Drift, 5,000,000 blobs', directory: newDirectory('start-full') };
    const empty = { name: 'Drift, empty', directory: newDirectory('start-empty') };
    try {
      await seedLedger(full.directory, (seed) => seed.blobs(BLOBS * scale));
      const numbers = await alternate([full, empty], rounds, ({ directory }) => startOnce(directory));
      const seconds = (name: string) => numberOf(numbers, full.name, name);
      return {
        numbers,
        targets: [
          atMost('seconds to the first answer, 5,000,000 blobs', seconds('first answer s'), SECONDS_MAX),
          atMost('seconds to `listening`, 5,000,000 blobs', seconds('listening s'), SECONDS_MAX),
        ],
      };
    } finally {
      for (const { directory } of [full, empty]) rmSync(directory, { recursive: true, force: true });
    }
  },
};

/** The first answer comes from whichever worker is ready first; `listening` is logged when every process does its work. */
async function startOnce(directory: string): Promise<Numbers> {
  const log = join(directory, 'log');
  rmSync(log, { force: true });
  const before = Date.now();
  const server = await startDrift({ directory, keepsDirectory: true });
  let listening: number | null = null;
  while (listening === null) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    listening = timeOfListening(readFileSync(log, 'utf8'));
  }
  await server.stop();
  return { 'first answer s': server.startSeconds, 'listening s': (listening - before) / 1000 };
}

function timeOfListening(log: string): number | null {
  const line = log.split('\n').find((each) => each.includes('"msg":"listening"'));
  return line === undefined ? null : (JSON.parse(line) as { time: number }).time;
}

import { parentPort } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';

/** The thread behind `bcrypt.ts`: bcrypt in JavaScript would hold up the event loop for as long as it computes. */
export interface BcryptQuestion {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

export interface BcryptAnswer {
  readonly id: number;
  readonly matches: boolean;
}

parentPort?.on('message', ({ id, password, hash }: BcryptQuestion) => {
  parentPort?.postMessage({ id, matches: compareSync(password, hash) } satisfies BcryptAnswer);
});

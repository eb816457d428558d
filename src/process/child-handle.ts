import type { ChildProcess } from 'node:child_process';
import type { FromChild, ToChild } from './ipc.ts';

/** How long a child gets to answer a question. */
const ANSWER_MILLISECONDS_MAX = 10_000;

type Answer = Extract<FromChild, { kind: 'reloaded' | 'snapshot' }>;
type Question = Extract<ToChild, { kind: 'reload' | 'snapshot' }>;

/** One child as the primary sees it. */
export class ChildHandle {
  readonly role: string;
  readonly process: ChildProcess;
  isReady = false;
  readonly #answers = new Map<number, (answer: Answer | null) => void>();

  constructor(role: string, child: ChildProcess) {
    this.role = role;
    this.process = child;
    child.once('exit', () => {
      for (const resolve of this.#answers.values()) resolve(null);
    });
  }

  send(message: ToChild): void {
    // A child that is going down has its exit event on the way; that says all.
    if (this.process.connected) this.process.send(message, () => {});
  }

  /** Null when it does not answer in time, or ends. */
  ask(question: Question): Promise<Answer | null> {
    const { promise, resolve } = Promise.withResolvers<Answer | null>();
    const timer = setTimeout(() => resolve(null), ANSWER_MILLISECONDS_MAX);
    this.#answers.set(question.id, resolve);
    this.send(question);
    if (!this.process.connected) resolve(null);
    return promise.finally(() => {
      clearTimeout(timer);
      this.#answers.delete(question.id);
    });
  }

  takeAnswer(answer: Answer): void {
    this.#answers.get(answer.id)?.(answer);
  }
}

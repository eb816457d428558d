import { Unavailable } from '../std/unavailable.ts';

/** For notes that a login can do without: on a full disk people still log in and pull. */
export async function optionalWrite(write: Promise<void>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
  }
}

/** Does rounds of at most `limit` for as long as each comes to its limit and the job may go on. What they did in all. */
export async function inRounds(
  limit: number,
  signal: AbortSignal,
  round: () => Promise<number>,
): Promise<number> {
  let total = 0;
  let done: number;
  do {
    done = await round();
    total += done;
  } while (done === limit && !signal.aborted);
  return total;
}

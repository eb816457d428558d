/** What was committed stays so, whatever an effect does. */
export function runEffect(effect: () => void): void {
  try {
    effect();
  } catch (error) {
    process.emitWarning(`an effect after a commit failed: ${String(error)}`);
  }
}

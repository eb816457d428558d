/** A value that its type refuses: `message` completes "<key>: …". */
export class ValueError extends Error {
  readonly suggestion: string | null;
  constructor(message: string, suggestion: string | null = null) {
    super(message);
    this.suggestion = suggestion;
  }
}

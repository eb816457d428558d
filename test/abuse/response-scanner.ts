export interface ScannedResponse {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

export interface Scan {
  /** Final answers: `100 Continue` is none. */
  readonly responses: readonly ScannedResponse[];
  /** What is left behind the last complete answer. */
  readonly rest: string;
}

const STATUS_LINE = /^HTTP\/1\.1 (\d{3})(?: [^\r\n]*)?$/;

/**
 * Splits what came back on one connection (read as latin1) into answers. Which of them belong to a HEAD is not known, as
 * hostile requests are read in more than one way: a body that starts like an answer is one. Throws where it is not HTTP.
 */
export function scanResponses(text: string): Scan {
  const responses: ScannedResponse[] = [];
  let at = 0;
  for (;;) {
    const headEnd = text.indexOf('\r\n\r\n', at);
    if (headEnd < 0) return { responses, rest: text.slice(at) };
    const head = text.slice(at, headEnd);
    const status = Number(STATUS_LINE.exec(head.slice(0, lineEnd(head)))?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) throw new Error(`no status line: ${JSON.stringify(head.slice(0, 200))}`);
    const bodyAt = headEnd + 4;
    const bodyEnd = endOfBody(text, { status, head, bodyAt });
    if (bodyEnd === null) return { responses, rest: text.slice(at) };
    if (status >= 200) responses.push({ status, head, body: text.slice(bodyAt, bodyEnd) });
    at = bodyEnd;
  }
}

function lineEnd(head: string): number {
  const end = head.indexOf('\r\n');
  return end < 0 ? head.length : end;
}

/** Null while it is not all there. */
function endOfBody(
  text: string,
  response: { readonly status: number; readonly head: string; readonly bodyAt: number },
): number | null {
  const { status, head, bodyAt } = response;
  if (status < 200 || status === 204 || status === 304) return bodyAt;
  if (/\r\ntransfer-encoding: chunked/i.test(head)) return endOfChunks(text, bodyAt);
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  if (text.length === bodyAt || text.startsWith('HTTP/1.1 ', bodyAt)) return bodyAt;
  return bodyAt + length <= text.length ? bodyAt + length : null;
}

function endOfChunks(text: string, from: number): number | null {
  if (text.length === from || text.startsWith('HTTP/1.1 ', from)) return from;
  for (let at = from; ; ) {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return null;
    const size = Number.parseInt(text.slice(at, end), 16);
    at = end + 2 + size + 2;
    if (at > text.length) return null;
    if (size === 0) return at;
  }
}

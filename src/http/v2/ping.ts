import type { Handler } from './desk.ts';

/** distribution-spec, end-1: the registry speaks this protocol, and the caller may use it. */
export const ping: Handler<'ping'> = async () => ({
  status: 200,
  headers: {},
  body: { kind: 'json', value: {} },
});

/** A client that sends nothing for so long keeps no memory of uploads that others wait for. */
export const STILL_MILLISECONDS = 5_000;

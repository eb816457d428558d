/** What the program's exit tells a service manager; sysexits.h where it has a word for it. */
export const EXIT = {
  OK: 0,
  /** The configuration is wrong: starting again changes nothing. */
  CONFIG: 78,
} as const;

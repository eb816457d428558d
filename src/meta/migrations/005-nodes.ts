import type { Migration } from './index.ts';

/** The nodes that serve, and leases that rest between two runs of their job, whichever node makes the next. */
export const nodes: Migration = {
  version: 5,
  name: 'nodes',
  compatibleFrom: 4,
  statements: ({ text, integer, clustered }) => [
    `create table nodes (
      id ${text} not null primary key, name ${text} not null, version ${text} not null, schema_version ${integer} not null,
      addresses ${text} not null, started_at ${integer} not null, seen_at ${integer} not null,
      seen_until ${integer} not null, skew_millis ${integer} not null, draining ${integer} not null)${clustered}`,
    `alter table leases add column rests_until ${integer} not null default 0`,
  ],
};

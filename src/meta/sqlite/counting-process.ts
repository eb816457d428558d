import { openSqliteMetaStore } from './sqlite-meta-store.ts';

/**
 * A process of the tests: adds one to `counter` so many times in durable transactions, tells each on a line, and then
 * waits to be killed.
 */
const [file = '', times = '1'] = process.argv.slice(2);
const store = await openSqliteMetaStore({ file, mode: 'serve' });
for (let round = 0; round < Number(times); round++) {
  const value = await store.transaction(async (tx) => {
    const next = Number((await tx.access.setting('counter')) ?? '0') + 1;
    await tx.access.putSetting('counter', String(next));
    return next;
  });
  process.stdout.write(`${value}\n`);
}
process.stdout.write('done\n');
setInterval(() => store.stats(), 1000);

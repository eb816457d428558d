import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHtpasswd } from './users.ts';

const HASH = '$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC';

test('parseHtpasswd, bcrypt lines, comments and blanks, gives the users', () => {
  const { hashes, problems } = parseHtpasswd(`# people\r\n\r\nann:${HASH}\r\nbob:${HASH}\n`);
  assert.deepEqual(problems, []);
  assert.deepEqual([...hashes.keys()], ['ann', 'bob']);
});

test('parseHtpasswd, other hashes, doubles and rubbish, names every line and shows no hash', () => {
  const text = `md5:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\nsha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nrubbish\nann:${HASH}\nann:${HASH}\n`;
  const { hashes, problems } = parseHtpasswd(text);
  assert.equal(hashes.size, 1);
  assert.equal(problems.length, 4);
  assert.deepEqual(
    problems.map(({ line }) => line),
    [1, 2, 3, 5],
  );
  assert.doesNotMatch(problems.map(({ message }) => message).join(), /apr1|SHA|\$2y/);
});

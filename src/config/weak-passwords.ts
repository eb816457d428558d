/** Passwords that everybody tries first: of our own documentation, and of the lists of most used ones. */
const KNOWN = new Set(
  (
    'changeme change-me change_me changeit tokenonly admin administrator password passw0rd p@ssw0rd password1 password123 ' +
    'secret letmein welcome welcome1 qwerty qwerty123 qwertyuiop abc123 abcd1234 iloveyou monkey dragon football baseball ' +
    'master superman sunshine princess trustno1 root toor test test123 guest user demo default drift registry docker ' +
    'docker123 harbor12345 example foobar hunter2 hello login access pass passwd pw temp temp123 admin123 admin1234 ' +
    '123456 1234567 12345678 123456789 1234567890 12345 1234 123123 111111 000000 654321 666666 888888 123qwe 1q2w3e4r ' +
    'zaq12wsx asdfgh asdfghjkl'
  ).split(' '),
);
const LENGTH_MIN = 8;

/** Why a plain password is weak, without showing it; null when it is not known to be. */
export function weakness(name: string, password: string): string | null {
  const folded = password.toLowerCase();
  if (KNOWN.has(folded)) return 'is one of the first that anybody tries';
  if (folded === name.toLowerCase()) return 'is the user name';
  return password.length < LENGTH_MIN ? `is shorter than ${LENGTH_MIN} characters` : null;
}

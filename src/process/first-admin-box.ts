/** Printed once, on the first start of a registry that knows nobody; the password is nowhere else. */
export function firstAdminBox(admin: { readonly name: string; readonly password: string }): string {
  const lines = [
    'No users are configured, so an administrator was made:',
    '',
    `  user      ${admin.name}`,
    `  password  ${admin.password}`,
    '',
    'This is shown only once. Only a hash of the password is kept.',
  ];
  const width = Math.max(...lines.map((line) => line.length));
  const bar = '─'.repeat(width + 2);
  return [`┌${bar}┐`, ...lines.map((line) => `│ ${line.padEnd(width)} │`), `└${bar}┘`, ''].join('\n');
}

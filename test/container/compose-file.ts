import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What a compose file says of the images of its services, by their names. */
export function imagesIn<Name extends string>(file: string): Readonly<Record<Name, string>> {
  const { services } = parse(readFileSync(file, 'utf8'), { merge: true }) as {
    readonly services: Readonly<Record<string, { readonly image: string }>>;
  };
  return Object.fromEntries(Object.entries(services).map(([name, { image }]) => [name, image])) as Record<
    Name,
    string
  >;
}

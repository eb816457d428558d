import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

/**
 * Where compiled code is kept, so that the next start is quicker. Inside the installation: whoever can write there can change
 * the program anyway, while code in a directory for everybody could be anybody's. Where it cannot be written, starts are as
 * slow as the first one.
 */
export const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/drift', import.meta.url));

export function keepCompiledCode(): void {
  enableCompileCache(COMPILE_CACHE);
}

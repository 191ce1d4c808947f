// The child programs of src/sys, made runnable from source for tests that start them.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { ROOT } from '../../rig/programs.js';

/** Bundles a module of src/sys (`probe-main`) and tells the path of the program. */
export function programOf(name: 'probe-main' | 'holders-main'): string {
  const directory = join(ROOT, '.cache/test-programs');
  mkdirSync(directory, { recursive: true });
  const outfile = join(directory, `${name}-${process.pid}.mjs`);
  buildSync({
    entryPoints: [join(ROOT, `src/sys/${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: ['koffi'],
    logLevel: 'silent',
  });
  return outfile;
}

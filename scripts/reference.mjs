// Writes docs/reference/*.md. The pages themselves are made in reference.ts.

import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const outfile = at('.cache/reference.mjs');

await build({
  entryPoints: [at('scripts/reference.ts')],
  outfile,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  logLevel: 'warning',
});
const { referencePages } = await import(pathToFileURL(outfile).href);
mkdirSync(at('docs/reference'), { recursive: true });
for (const [file, text] of Object.entries(referencePages())) writeFileSync(at(`docs/reference/${file}`), text);

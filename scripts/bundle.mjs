// Makes the two programs of bin/: `fairlead`, one file so that it starts fast, and `quobyte-sandbox`, a door to dist/.
// Both are CommonJS and find the rest of the checkout from their own real path, so they work from any directory and
// through a link. `node scripts/bundle.mjs FILE` makes only the command line, into that file.

import { chmodSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const [elsewhere] = process.argv.slice(2);
const fairlead = elsewhere ?? at('bin/fairlead');

await build({
  entryPoints: [at('src/cli/main.ts')],
  outfile: fairlead,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  banner: { js: '#!/usr/bin/env node' },
  logLevel: 'warning',
});
chmodSync(fairlead, 0o755);
if (elsewhere === undefined) {
  const sandbox = at('bin/quobyte-sandbox');
  const target =
    "require('node:url').pathToFileURL(require('node:path').join(__dirname, '../dist/sandbox/cli.js')).href";
  writeFileSync(sandbox, `#!/usr/bin/env node\nimport(${target});\n`, { mode: 0o755 });
  chmodSync(sandbox, 0o755);
}

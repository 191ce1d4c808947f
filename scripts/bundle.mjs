// Makes the two programs of bin/: `fairlead`, one file so that it starts fast, and `quobyte-sandbox`, a door to dist/.
// Both are CommonJS and find the rest of the checkout from their own real path, so they work from any directory and
// through a link.

import { chmodSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

await build({
  entryPoints: [at('src/cli/main.ts')],
  outfile: at('bin/fairlead'),
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
writeFileSync(
  at('bin/quobyte-sandbox'),
  `#!/usr/bin/env node
import(require('node:url').pathToFileURL(require('node:path').join(__dirname, '../dist/sandbox/cli.js')).href);
`,
);
for (const program of ['bin/fairlead', 'bin/quobyte-sandbox']) chmodSync(at(program), 0o755);

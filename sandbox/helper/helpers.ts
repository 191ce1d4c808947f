// Writes the mount helpers. Perl, where there is one (Debian's is essential): it starts in half a millisecond, Node in
// twenty-five. Without it the helpers are Node scripts that do the same.
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { perlMount, perlUnmount } from './perl.js';

const PERL = '/usr/bin/perl';

/** Writes `mount.quobyte` and `umount.quobyte` into `directory`: real executable files of root's, mode 0755. */
export function writeHelpers(directory: string, cli: string): void {
  const perl = existsSync(PERL);
  write(join(directory, 'mount.quobyte'), perl ? perlMount() : nodeHelper(cli, 'mount'));
  write(join(directory, 'umount.quobyte'), perl ? perlUnmount() : nodeHelper(cli, 'umount'));
}

/** Replaces a file in one step, so that a helper that is being started finds a whole one. */
function write(path: string, text: string): void {
  const next = `${path}.new`;
  writeFileSync(next, text, { mode: 0o755 });
  renameSync(next, path);
}

function nodeHelper(cli: string, what: 'mount' | 'umount'): string {
  const script = new URL(`./node-${what}.js`, `file://${cli.replace(/cli\.js$/, 'helper/')}`).href;
  return `#!${process.execPath}\n// ${what}.quobyte of the Quobyte sandbox.\nimport(${JSON.stringify(script)});\n`;
}

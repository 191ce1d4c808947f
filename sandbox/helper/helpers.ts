// Writes the mount helpers. Perl, where there is one (Debian's is essential): it starts in half a millisecond, Node
// in thirty. Without it the helpers are Node scripts that do the same.
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { perlMount, perlUnmount } from './perl.js';

const PERL = '/usr/bin/perl';

/** What runs the helpers on this machine. */
export function interpreter(): 'perl' | 'node' {
  return existsSync(PERL) ? 'perl' : 'node';
}

/**
 * Writes `mount.quobyte` and `umount.quobyte` into `directory`: real executable files of root's, mode 0755. `cli` is the
 * path of the built command line, beside which the Node helpers lie.
 */
export function writeHelpers(directory: string, cli: string, by: 'perl' | 'node'): void {
  write(join(directory, 'mount.quobyte'), by === 'perl' ? perlMount() : nodeHelper(cli, 'mount'));
  write(join(directory, 'umount.quobyte'), by === 'perl' ? perlUnmount() : nodeHelper(cli, 'umount'));
}

/** Replaces a file in one step, so that a helper that is being started finds a whole one. */
function write(path: string, text: string): void {
  const next = `${path}.new`;
  writeFileSync(next, text, { mode: 0o755 });
  renameSync(next, path);
}

function nodeHelper(cli: string, what: 'mount' | 'umount'): string {
  const script = new URL(`helper/node-${what}.js`, pathToFileURL(cli)).href;
  return `#!${process.execPath}\n// ${what}.quobyte of the Quobyte sandbox.\nimport(${JSON.stringify(script)});\n`;
}

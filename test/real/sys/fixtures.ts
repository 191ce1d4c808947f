// Real kernel states for tests: mounts that are alive, dead or hung, in the namespaces that the test run was started in.

import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { mount } from '../../../sandbox/fuse/libc.js';

/** A mount base in a tmpfs of its own; everything is gone after `close`. */
export interface Scratch {
  readonly dir: string;
  readonly base: string;
  close(): void;
}

/** A fresh base, `shared` as a host's mounts are or private. */
export function scratch(propagation: 'private' | 'shared' = 'private'): Scratch {
  const dir = mkdtempSync('/tmp/fairlead-sys-');
  execFileSync('mount', ['-t', 'tmpfs', 'scratch', dir]);
  execFileSync('mount', [`--make-${propagation}`, dir]);
  chmodSync(dir, 0o755);
  const base = join(dir, 'base');
  mkdirSync(base, { mode: 0o711 });
  return {
    dir,
    base,
    close: () => {
      execFileSync('umount', ['--recursive', '--lazy', dir]);
      rmSync(dir, { recursive: true });
    },
  };
}

/** A name of the form of a leaf. */
export const LEAF = 'c94ed34ada0acf45c1213beb1fc52ce6';

/** Mounts a tmpfs with a source text. */
export function tmpfs(path: string, source = 'plain'): void {
  execFileSync('mount', ['-t', 'tmpfs', source, path]);
}

/** Takes the topmost mount away. */
export function unmount(path: string): void {
  execFileSync('umount', [path]);
}

/** A FUSE mount whose server never reads: `hung` until the returned function closes the connection, then dead. */
export function hungFuse(path: string, source = 'quobyte@reg/vol'): () => void {
  const fd = openSync('/dev/fuse', constants.O_RDWR);
  const data = `fd=${fd},rootmode=40000,user_id=0,group_id=0`;
  const failed = mount(source, path, 'fuse.quobyte', 0, data);
  if (failed < 0) throw new Error(`mounting FUSE failed: errno ${-failed}`);
  return () => {
    closeSync(fd);
  };
}

/** A FUSE mount whose server is gone: ENOTCONN. */
export function deadFuse(path: string, source = 'quobyte@reg/vol'): void {
  hungFuse(path, source)();
}

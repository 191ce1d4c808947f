// Is a program the one that the operator means? Its path is walked name by name, links included, and at every step
// nobody but root (or the user that we are) may have had a hand in it: directories and links on the way, and the file
// itself. What is checked stays what is executed, because nobody else can change any part of the way; so it is started
// by its path, and scripts keep their own name.

import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { isBelow } from '../core/paths.js';
import { errnoOf } from './libc/errors.js';

/** The answer to {@link checkProgram}; `detail` is for the operator and names no volume. */
export type Trust =
  | { readonly trusted: true }
  | { readonly trusted: false; readonly why: 'missing' | 'untrusted' | 'not-executable'; readonly detail: string };

/** Links on the way before it counts as a loop; the kernel's own limit is 40 (path_resolution(7)). */
const MAX_LINKS = 16;

/** Checks the program at `path`, which must lie in one of the trusted directories, before and after links are resolved. */
export function checkProgram(path: string, trustedDirs: readonly string[]): Trust {
  if (!path.startsWith('/') || posix.normalize(path) !== path) {
    return untrusted('It must be named by a plain absolute path.');
  }
  if (!trustedDirs.some((directory) => isBelow(path, directory))) {
    return untrusted('It lies outside the trusted_helper_dirs.');
  }
  try {
    const program = walk(path);
    const allowed = trustedDirs.some((directory) => isBelow(program.path, resolvedOrItself(directory)));
    if (!allowed) return untrusted('It is a link to a file outside the trusted_helper_dirs.');
    if (!program.facts.isFile()) return untrusted('It is not a regular file.');
    if ((program.facts.mode & 0o111n) === 0n) {
      return { trusted: false, why: 'not-executable', detail: 'It is not executable; chmod 0755 it.' };
    }
    return { trusted: true };
  } catch (error) {
    if (error instanceof Untrusted) return untrusted(error.message);
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      return {
        trusted: false,
        why: 'missing',
        detail: 'There is no such file; install the client or correct the path.',
      };
    }
    if (errno === 'EACCES') return untrusted('A directory on the way to it cannot be searched.');
    throw error;
  }
}

/**
 * Who else than root may have had a hand in these files and directories, in what lies in them (`deep`: at any depth), or in
 * the way to them: the first that is found, in words, or null. What is missing is nobody's.
 */
export function foreignHand(paths: readonly { readonly path: string; readonly deep: boolean }[]): string | null {
  try {
    for (const { path, deep } of paths) {
      const { path: real, facts } = walk(path);
      if (!facts.isDirectory()) continue;
      for (const name of readdirSync(real, { recursive: deep, encoding: 'utf8' })) {
        const inside = posix.join(real, name);
        checked(inside, lstatSync(inside, { bigint: true }));
      }
    }
    return null;
  } catch (error) {
    if (error instanceof Untrusted) return error.message;
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

class Untrusted extends Error {}

function untrusted(detail: string): Trust {
  return { trusted: false, why: 'untrusted', detail };
}

/** Where a path leads, and what is there. Throws {@link Untrusted}, or Node's error for a missing part. */
function walk(path: string): { readonly path: string; readonly facts: BigIntStats } {
  let at = '/';
  let facts = checked('/', lstatSync('/', { bigint: true }));
  const names = path.split('/').filter((name) => name !== '');
  let links = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '.') continue;
    const next = name === '..' ? posix.dirname(at) : posix.join(at, name);
    const found = checked(next, lstatSync(next, { bigint: true }));
    if (!found.isSymbolicLink()) {
      at = next;
      facts = found;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw new Untrusted('Too many links lead to it.');
    const target = readlinkSync(next);
    if (target.startsWith('/')) at = '/';
    names.unshift(...target.split('/').filter((part) => part !== ''));
  }
  return { path: at, facts };
}

/** Refuses what somebody else owns or may change. A sticky directory protects what root has in it (inode(7), S_ISVTX). */
function checked(path: string, facts: BigIntStats): BigIntStats {
  if (facts.uid !== 0n && facts.uid !== BigInt(process.geteuid?.() ?? 0)) {
    throw new Untrusted(`${path} belongs to uid ${facts.uid}; chown it to root.`);
  }
  const sticky = facts.isDirectory() && (facts.mode & 0o1000n) !== 0n;
  if (!facts.isSymbolicLink() && !sticky && (facts.mode & 0o022n) !== 0n) {
    throw new Untrusted(`${path} may be written by group or others; chmod go-w it.`);
  }
  return facts;
}

function resolvedOrItself(directory: string): string {
  try {
    return walk(directory).path;
  } catch (error) {
    // A trusted directory that is missing or unsound vouches for nothing below it but its own name.
    if (error instanceof Untrusted || errnoOf(error) !== null) return directory;
    throw error;
  }
}

// Directories by handle. Every walk starts at a handle and follows no link; a mount that lies on a leaf is seen by its
// mount ID and never asked anything. What comes in are absolute paths from the configuration and single names.

import { chmodSync, readdirSync } from 'node:fs';
import type { LeafState } from '../core/observation.js';
import { errnoOf } from './libc/errors.js';
import {
  factsOf,
  type Handle,
  makeDirectoryAt,
  mountIdOf,
  openAt,
  removeDirectoryAt,
  type Walk,
} from './libc/files.js';
import type { Directories, DirectoryFacts } from './ports.js';

/** The directories of this machine. */
export const directories: Directories = { chain, isMounted, leafState, makeLeaf, removeLeaf, list };

/** A handle on a mount base, reached without following a link. */
export function openBase(base: string): Handle {
  return openAt(null, base, 'directory', 'anywhere');
}

/** Refuses what is not one path component: a defect of the caller, so not one of the foreseen errors. */
export function singleName(name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
    throw new RangeError('a directory name must be a single path component');
  }
  return name;
}

/** A handle on the leaf directory, or on the root of what is mounted there; null if it is not a directory (any more). */
export function openLeaf(base: Handle, leaf: string, walk: Exclude<Walk, 'anywhere'>): Handle | null {
  try {
    return openAt(base, singleName(leaf), 'directory', walk);
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'ELOOP':
      case 'ENOTDIR':
      case 'EXDEV':
        return null;
      default:
        throw error;
    }
  }
}

function chain(path: string): readonly DirectoryFacts[] {
  const facts: DirectoryFacts[] = [];
  let handle: Handle = openAt(null, '/', 'anything', 'anywhere');
  let at = '';
  try {
    facts.push(directoryFacts('/', handle));
    for (const name of path.split('/').filter((component) => component !== '')) {
      at = `${at}/${name}`;
      const next: Handle | null = facts.at(-1)?.kind === 'directory' ? openIfThere(handle, singleName(name)) : null;
      if (next === null) {
        facts.push({ path: at, kind: 'absent', uid: 0, gid: 0, mode: 0 });
        continue;
      }
      handle[Symbol.dispose]();
      handle = next;
      facts.push(directoryFacts(at, handle));
    }
    return facts;
  } finally {
    handle[Symbol.dispose]();
  }
}

function directoryFacts(path: string, handle: Handle): DirectoryFacts {
  const { kind, uid, gid, mode } = factsOf(handle);
  return { path, kind, uid, gid, mode };
}

function openIfThere(directory: Handle, name: string): Handle | null {
  try {
    return openAt(directory, name, 'anything', 'beneath');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function isMounted(base: string, leaf: string): boolean {
  try {
    using baseHandle = openBase(base);
    // A walk that may not enter another mount ends before what is mounted there is asked anything.
    openAt(baseHandle, singleName(leaf), 'anything', 'same-mount')[Symbol.dispose]();
    return false;
  } catch (error) {
    if (errnoOf(error) === 'EXDEV') return true;
    if (isNoDirectory(error)) return false;
    throw error;
  }
}

function leafState(base: string, leaf: string): LeafState {
  try {
    using baseHandle = openBase(base);
    return stateIn(baseHandle, singleName(leaf));
  } catch (error) {
    if (isNoDirectory(error)) return 'absent';
    throw error;
  }
}

/** The base itself is gone, or something else by now: no walk comes to a leaf in it. */
function isNoDirectory(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '');
}

function stateIn(base: Handle, leaf: string): LeafState {
  using handle = openIfThere(base, leaf);
  if (handle === null) return 'absent';
  if (mountIdOf(handle) !== mountIdOf(base)) return 'mounted';
  switch (factsOf(handle).kind) {
    case 'link':
      return 'link';
    case 'regular':
    case 'other':
      return 'not-a-directory';
    case 'directory':
      return contentsOf(base, leaf);
  }
}

/** Whether the plain directory is empty. Opened anew and not across a mount: one may have come since it was looked at. */
function contentsOf(base: Handle, leaf: string): LeafState {
  try {
    using names = openAt(base, leaf, 'names', 'same-mount');
    return readdirSync(names.path).length === 0 ? 'empty' : 'occupied';
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
        return 'absent';
      case 'EXDEV':
        return 'mounted';
      case 'ELOOP':
        return 'link';
      case 'ENOTDIR':
        return 'not-a-directory';
      default:
        throw error;
    }
  }
}

function makeLeaf(base: string, leaf: string): 'made' | 'exists' {
  using baseHandle = openBase(base);
  try {
    makeDirectoryAt(baseHandle, singleName(leaf), 0o700);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return 'exists';
    throw error;
  }
  try {
    using handle = openAt(baseHandle, leaf, 'directory', 'same-mount');
    // Whoever may write in the base could have put another directory in its place: that one is not ours to change.
    if (factsOf(handle).uid !== process.geteuid?.()) return 'exists';
    // The umask may have taken bits away, and a default ACL or set-group-id of the base may have added some.
    chmodSync(handle.path, 0o700);
    return 'made';
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'EXDEV':
      case 'ELOOP':
      case 'ENOTDIR':
        return 'exists';
      default:
        throw error;
    }
  }
}

function removeLeaf(base: string, leaf: string): 'removed' | 'absent' | 'not-empty' | 'mounted' | 'not-a-directory' {
  using baseHandle = openBase(base);
  try {
    removeDirectoryAt(baseHandle, singleName(leaf));
    return 'removed';
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
        return 'absent';
      case 'ENOTEMPTY':
      case 'EEXIST':
        return 'not-empty';
      // In our own namespace only: a copy in another one does not protect the directory (since Linux 3.18).
      case 'EBUSY':
        return 'mounted';
      case 'ENOTDIR':
        return 'not-a-directory';
      default:
        throw error;
    }
  }
}

function list(base: string): readonly string[] {
  using baseHandle = openAt(null, base, 'names', 'anywhere');
  return readdirSync(baseHandle.path);
}

// What a domain names on volumes: files below directories that have a leaf's name. Pure. A leaf counts wherever its
// name is a component of a path: the mount base may be spelled in another way, through a link or a bind, and a leaf's
// name is nobody else's.

import type { Domain } from './domains.js';
import { isLeaf, type Leaf } from './volume.js';

/** Where a path goes up again, nobody can tell what it names on the leaf. */
export const ANY_FILE = '..';

/** Everything that the domain has. */
export function filesOf({ disks, otherFiles }: Pick<Domain, 'disks' | 'otherFiles'>): readonly string[] {
  return [...disks.flatMap(({ path }) => path ?? []), ...otherFiles];
}

/**
 * By leaf: the files that these paths name there, below the leaf; empty for the leaf itself, {@link ANY_FILE} where
 * it cannot be told.
 */
export function filesOnLeaves(paths: readonly string[]): ReadonlyMap<Leaf, ReadonlySet<string>> {
  const named = new Map<Leaf, Set<string>>();
  for (const path of paths) {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    for (const [index, part] of parts.entries()) {
      if (!isLeaf(part)) continue;
      const files = named.get(part) ?? new Set<string>();
      named.set(part, files);
      files.add(parts.includes('..') ? ANY_FILE : parts.slice(index + 1).join('/'));
    }
  }
  return named;
}

// What stands in the way of a mount at a leaf, and what to do about it: the same words wherever somebody asks. Pure.

import type { LeafState } from './observation.js';

/** What keeps a volume from being mounted at a leaf that has no mount; null: nothing does. */
export function obstructionAt(directory: LeafState): string | null {
  switch (directory) {
    case 'absent':
    case 'empty':
    case 'mounted':
      return null;
    case 'occupied':
      return 'The leaf is a directory with something in it. Empty or remove it, then try again.';
    case 'link':
      return 'A symbolic link lies where the leaf belongs. Find out who made it and remove it.';
    case 'not-a-directory':
      return 'A file lies where the leaf belongs. Find out who made it and remove it.';
  }
}

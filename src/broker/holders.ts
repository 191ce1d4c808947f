// Who uses a volume, wherever: asked by its superblocks. The answer explains why a mount stays; it never permits to
// end anything.

import { FairleadError } from '../core/errors.js';
import { MAX_HOLDERS } from '../core/limits.js';
import type { MountEntry } from '../core/mountinfo.js';
import type { Holding } from '../core/observation.js';
import type { Sought } from '../sys/ports.js';
import { superblocksOf } from './client-states.js';
import type { Context } from './context.js';
import type { Place } from './place.js';

/**
 * The users of these mounts of the volume, and of those whose clients still serve somebody elsewhere; our own probes left
 * out. Rejects with `resource-exhausted` when too many
 * are looked for at the same time.
 */
export async function holdersOf(
  context: Context,
  place: Place,
  mounts: readonly Pick<MountEntry, 'dev' | 'root'>[],
  budgetMs: number,
): Promise<Holding> {
  const { machine, prober } = context;
  const sought = soughtAt(place, mounts, superblocksOf(context, place));
  if (sought === null) return { holders: [], complete: true };
  const { holders, complete } = await machine.processes.holding(sought, prober.pids, budgetMs);
  return { holders: holders.slice(0, MAX_HOLDERS), complete: complete && holders.length <= MAX_HOLDERS };
}

/** {@link holdersOf} for somebody who goes on without an answer: one that could not be had is incomplete. */
export async function holdersInDoubt(...question: Parameters<typeof holdersOf>): Promise<Holding> {
  try {
    return await holdersOf(...question);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return { holders: [], complete: false };
  }
}

/**
 * A mount that a helper made has superblocks of its own; a directory that was bound shares one with others. Null: there
 * is none.
 */
function soughtAt(
  { mountpoint, identifiedBy }: Place,
  mounts: readonly Pick<MountEntry, 'dev' | 'root'>[],
  served: readonly string[],
): Sought | null {
  const devices = [...new Set([...mounts.map(({ dev }) => dev), ...served])].sort();
  if (devices.length === 0) return null;
  const common = { mountPoint: mountpoint, devices };
  if (identifiedBy === null) return { kind: 'superblock', ...common };
  const [first] = mounts;
  return first === undefined ? null : { kind: 'bind', ...common, root: first.root, source: identifiedBy.source };
}

// The leaf directory: made empty, 0700, root's; removed only when it is empty and nothing is mounted or mounting there.

import { Deadline } from '../../core/deadline.js';
import { MAX_UNUSED_LEAVES, TOOL_BUDGET_MS } from '../../core/limits.js';
import { obstructionAt } from '../../core/obstruction.js';
import { errnoOf } from '../../sys/libc/errors.js';
import type { Context } from '../context.js';
import type { Place } from '../place.js';
import { requireRecognised, requireSoundBase } from '../policy.js';
import { clientsOf, formerOf } from '../client-states.js';
import { makeQuiet } from '../quiet.js';
import { look } from '../sight.js';
import { CHANGED, refused, UNCHANGED } from '../step-ends.js';
import type { Executor } from './step.js';

const BASE_FULL =
  'The disk of the mount base is full, or its quota is used up, so no directory can be made there. Free some space (df -h and df -i of the base), then try again.';
const BASE_READ_ONLY =
  'The disk of the mount base is read-only, so no directory can be made there. Look at the kernel log, then remount it.';

/** Makes the leaf, if nothing is there; a mounted or an empty leaf is done already. */
export const makeLeaf: Executor = async ({ context, place, deadline, begin }) => {
  place.authorise();
  requireSoundBase(context, place);
  const sight = await look(context, place, deadline);
  if (requireRecognised(place, sight) !== null) return UNCHANGED;
  if (sight.directory === 'absent') {
    if (context.unusedLeaves.count >= MAX_UNUSED_LEAVES) {
      const message = 'Too many leaf directories were made and nothing was mounted there. Try again later.';
      return refused(place, 'resource-exhausted', message);
    }
    begin();
    try {
      if (context.machine.directories.makeLeaf(place.base, place.volume.leaf) === 'made') {
        context.unusedLeaves.add(place, (unused) => removeUnused(context, unused));
        context.reach('broker.make-leaf.done');
        return CHANGED;
      }
    } catch (error) {
      // With these errors mkdirat(2) has made nothing.
      switch (errnoOf(error)) {
        case 'ENOSPC':
        case 'EDQUOT':
          return refused(place, 'resource-exhausted', BASE_FULL);
        case 'EROFS':
          return refused(place, 'unavailable', BASE_READ_ONLY);
        default:
          throw error;
      }
    }
  }
  const { directory } = await look(context, place, deadline);
  if (directory === 'empty' || directory === 'mounted') return UNCHANGED;
  return refused(
    place,
    'foreign',
    obstructionAt(directory) ?? 'The leaf was removed as soon as it was made. Try again.',
  );
};

/** Removes the leaf. A helper that may still mount there is ended first. */
export const removeLeaf: Executor = async ({ context, place, deadline, begin }) => {
  requireSoundBase(context, place);
  const { leaf } = place.volume;
  const before = await look(context, place, deadline);
  if (before.top !== undefined) return refused(place, 'busy', 'The leaf is mounted. Unmount it before removing it.');
  if (before.directory === 'absent') return UNCHANGED;
  if ((await makeQuiet(context, place, deadline)) === 'acting') {
    return refused(place, 'stuck', 'An earlier operation on this volume may still act. It is worked off; try again.');
  }
  const clients = await clientsOf(context, place, deadline);
  if (clients === null) return refused(place, 'unavailable', 'The units of the volume could not be asked. Try again.');
  if (before.outOfSight.length > 0 || formerOf(clients).some(({ state }) => state === 'serving')) {
    const message =
      'A mount of the volume is still there out of sight of its leaf, or in use where it was copied or moved to.';
    return refused(place, 'busy', message);
  }
  const needed = neededElsewhere(context, place);
  if (needed !== null) return refused(place, 'busy', needed);
  begin();
  switch (context.machine.directories.removeLeaf(place.base, leaf)) {
    case 'removed':
      context.bound.drop(place);
      context.unusedLeaves.drop(place);
      context.reach('broker.remove-leaf.done');
      return CHANGED;
    case 'absent':
      return UNCHANGED;
    case 'mounted':
      return refused(place, 'busy', 'Something was mounted at the leaf meanwhile. Observe it, then try again.');
    case 'not-empty':
      return refused(place, 'foreign', 'The leaf has something in it, which is not removed. Empty it, then try again.');
    case 'not-a-directory':
      return refused(place, 'foreign', 'No directory lies where the leaf belongs. Find out who made it and remove it.');
  }
};

/** Removes a leaf that was made and not used, unless something is done there now, or a helper was started for it. */
async function removeUnused(context: Context, place: Place): Promise<'later' | 'done'> {
  const deadline = new Deadline(context.machine.clock, TOOL_BUDGET_MS);
  const unlock = await context.locks.take(place.mountpoint, 0);
  if (unlock === null) return 'later';
  try {
    if (context.clients.of(place).length > 0) return 'later';
    const end = await removeLeaf({ context, place, deadline, begin: () => undefined });
    if (end === CHANGED) context.log.info('unused-leaf-removed', { leaf: place.volume.leaf });
    return context.machine.directories.leafState(place.base, place.volume.leaf) === 'empty' ? 'later' : 'done';
  } catch (error) {
    context.log.warn('unused-leaf-kept', { leaf: place.volume.leaf, error });
    return 'later';
  } finally {
    unlock();
  }
}

/**
 * Why the directory must stay for the sake of another mount namespace; null: it need not. rmdir would take away what is
 * mounted on it there (mount_namespaces(7)). The base may be anywhere in that namespace, the leaf's name is its own.
 */
function neededElsewhere({ machine }: Context, { volume }: Place): string | null {
  const there = machine.namespaces.mounts(({ mountPoint }) => mountPoint.endsWith(`/${volume.leaf}`));
  if (there === null) return 'It cannot be seen whether another mount namespace has something mounted on the leaf.';
  return there.length === 0 ? null : 'Another mount namespace has something mounted on the leaf.';
}

// `disk` and `holders`: who and what is in a mounted volume. Neither follows a link or leaves the volume.

import { FairleadError } from '../../core/errors.js';
import { parseDiskName } from '../../core/names.js';
import { LATE, within } from '../../core/deadline.js';
import { escapeForLog } from '../../core/text.js';
import type { Holder } from '../../core/observation.js';
import { type Bind, isSameMount } from '../bound.js';
import type { Context } from '../context.js';
import { holdersOf } from '../holders.js';
import { type Place, placeOf } from '../place.js';
import { inDoubt, requireInPlace, requireRecognised } from '../policy.js';
import { look } from '../sight.js';
import type { Handler } from './handler.js';

/** What lies under a name directly in the volume. */
export const disk: Handler<'disk'> = async ({ context, deadline }, request) => {
  const place = placeOf(context, request.volume);
  place.authorise();
  const name = parseDiskName(request.name, 'name');
  const mount = requireRecognised(place, await look(context, place, deadline));
  if (mount === null) throw failure(place, 'not-found', 'The volume is not mounted. Connect it first.');
  requireInPlace(place, mount);
  const asking = context.prober.disk(place.target(mount.entry.dev), name);
  const answer = await within(context.machine.clock, asking, deadline.remaining);
  if (answer === LATE) throw failure(place, 'deadline-exceeded', 'The disk was not looked at in time. Try again.');
  switch (answer.end) {
    case 'answered':
      return { state: answer.state };
    case 'failed':
      throw failure(
        place,
        'unhealthy',
        `The volume answered ${answer.errno} for the disk. Look at the storage service.`,
      );
    case 'hung':
      throw failure(place, 'hung', 'The server does not answer. Look at the storage service and the network.');
  }
};

/**
 * Who keeps the mounted volume busy, our own probes left out. A mount of ours that somebody else's covers has users,
 * too. Where nothing of ours is mounted nobody has anything to lose.
 */
export const holders: Handler<'holders'> = async ({ context, deadline }, request) => {
  const place = placeOf(context, request.volume);
  const { mounts, doubt, outOfSight } = await look(context, place, deadline);
  if (doubt !== null) throw inDoubt(place, doubt);
  const ours = mounts.filter(({ recognised }) => recognised).map(({ entry }) => entry);
  const looking = holdersOf(context, place, ours, deadline.remaining);
  const found = await within(context.machine.clock, looking, deadline.remaining);
  if (found === LATE) throw failure(place, 'deadline-exceeded', 'The processes were not looked at in time. Try again.');
  return { holders: [...placesOf(context, outOfSight), ...found.holders], complete: found.complete };
};

/** Where the binds are that are not at their leaf. */
function placesOf({ machine }: Context, outOfSight: readonly Bind[]): Holder[] {
  if (outOfSight.length === 0) return [];
  // The path of a mount below a directory that was renamed.
  machine.table.forget();
  return machine.table
    .below('/')
    .filter((entry) => outOfSight.some(({ mount }) => mount !== null && isSameMount(mount, entry)))
    .map(({ mountPoint }) => ({ pid: 0, command: escapeForLog(mountPoint), by: 'mount' }));
}

function failure(
  place: Place,
  code: 'not-found' | 'deadline-exceeded' | 'unhealthy' | 'hung',
  message: string,
): FairleadError {
  return new FairleadError(code, message, { leaf: place.volume.leaf });
}

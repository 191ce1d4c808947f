// The `detach-dead` step: takes a mount away from under its users, after the broker's own probe, begun after the request
// arrived, has proven it dead. MNT_DETACH is used here and nowhere else, and only if the answer was ENOTCONN: the
// connection is gone and no server can ever answer again. A mount that its server disowns (ESTALE) is unmounted plainly.

import { KILL_GRACE_MS, LOOK_LAST_MS } from '../../core/limits.js';
import { LATE, within } from '../../core/deadline.js';
import { noteDeath, noteSuperblock } from '../client-states.js';
import { requireDead, requireRecognised, requireSoundBase } from '../policy.js';
import { look, stillOnTop, stillThere } from '../sight.js';
import { CHANGED, refused, UNCHANGED, unknown } from '../step-ends.js';
import type { Executor } from './step.js';

/** See the file's head. */
export const detachDead: Executor = async ({ context, place, deadline, begin }) => {
  const { machine, prober } = context;
  requireSoundBase(context, place);
  const mount = requireRecognised(place, await look(context, place, deadline));
  if (mount === null) return UNCHANGED;
  if (prober.acts.acting(place.mountpoint)) {
    return refused(place, 'hung', 'An earlier step on this volume has not been answered yet. It is worked off.');
  }
  const probing = prober.probe(place.target(mount.entry.dev), 'read-only');
  const facts = await within(machine.clock, probing, deadline.before(KILL_GRACE_MS));
  if (facts === LATE) return refused(place, 'deadline-exceeded', 'The mount was not probed in time. Try again.');
  const mode = requireDead(place, place.judge(facts, 'read-only'));
  if (!stillOnTop(context, place, mount)) {
    return refused(place, 'unavailable', 'The mount changed while it was probed. Observe it, then try again.');
  }
  if (deadline.before(KILL_GRACE_MS) < LOOK_LAST_MS) {
    return refused(place, 'deadline-exceeded', 'There was no time left to detach the mount. Try again.');
  }
  noteSuperblock(context, place, mount.entry.dev);
  begin();
  const working = prober.acts.unmount(place.base, place.volume.leaf, mode);
  const end = await within(machine.clock, working, deadline.before(KILL_GRACE_MS));
  if (end === LATE) {
    return unknown(place, 'hung', 'The detach was not answered in time and may still happen. It is worked off.');
  }
  if (end.end === 'answered' && end.errno === 'EBUSY') {
    return refused(place, 'busy', 'Processes use the mount that its server disowns. End them, then try again.');
  }
  if (stillThere(context, place, mount)) {
    return refused(place, 'unavailable', 'The kernel did not detach the dead mount. Try again.');
  }
  // What is left of its client serves nobody, and ends by itself.
  if (mode === 'detach') noteDeath(context, place, mount.entry.dev);
  context.reach('broker.detach-dead.done');
  return CHANGED;
};

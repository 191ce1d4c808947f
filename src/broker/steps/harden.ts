// Sets nosuid, nodev, noexec and nosymfollow on the mounted volume, as far as the configuration asks for them, and sees them in
// the table before it says so.

import { requireRecognised, requireSoundBase } from '../policy.js';
import { isHardened, look } from '../sight.js';
import { CHANGED, refused, UNCHANGED, unknown } from '../step-ends.js';
import type { Executor } from './step.js';

/** See the file's head. */
export const harden: Executor = async ({ context, place, deadline, begin }) => {
  const { machine } = context;
  place.authorise();
  requireSoundBase(context, place);
  const mount = requireRecognised(place, await look(context, place, deadline));
  if (mount === null) return refused(place, 'not-found', 'Nothing is mounted at the leaf. Connect.');
  if (isHardened(mount.entry, place.settings)) return UNCHANGED;
  begin();
  const end = machine.mounts.harden(place.base, place.volume.leaf, mount.entry.dev, place.settings.hardening);
  if (end !== 'hardened') {
    const message = 'The mount at the leaf changed while it was hardened. Observe it, then try again.';
    return refused(place, 'unavailable', message);
  }
  const after = requireRecognised(place, await look(context, place, deadline));
  if (after !== null && isHardened(after.entry, place.settings)) {
    context.reach('broker.harden.done');
    return CHANGED;
  }
  const message = 'The attributes were set and are not seen in the mount table. Observe the mount, then try again.';
  return unknown(place, 'unavailable', message);
};

// Sets nosuid, nodev, noexec and nosymfollow on the mounted volume, as far as the profile asks for them, and sees them in
// the table before it says so.

import type { StepEnd } from '../../core/steps.js';
import { requireRecognised, requireSoundBase } from '../policy.js';
import { isHardened, look } from '../sight.js';
import { CHANGED, refused, UNCHANGED, unknown } from '../step-ends.js';
import type { Attempt, Executor } from './step.js';

/** See the file's head. */
export const harden: Executor = (attempt) => Promise.resolve(hardenNow(attempt));

function hardenNow({ context, place, begin }: Attempt): StepEnd {
  const { machine } = context;
  place.authorise();
  requireSoundBase(context, place);
  const mount = requireRecognised(place, look(context, place));
  if (mount === null) return refused(place, 'not-found', 'Nothing is mounted at the leaf. Connect.');
  if (isHardened(mount.entry, place.settings)) return UNCHANGED;
  begin();
  const end = machine.mounts.harden(place.base, place.volume.leaf, mount.entry.dev, place.settings.hardening);
  if (end !== 'hardened') {
    const message = 'The mount at the leaf changed while it was hardened. Observe it, then try again.';
    return refused(place, 'unavailable', message);
  }
  const after = look(context, place).top;
  if (after?.recognised === true && isHardened(after.entry, place.settings)) {
    context.reach('broker.harden.done');
    return CHANGED;
  }
  const message = 'The attributes were set and are not seen in the mount table. Observe the mount, then try again.';
  return unknown(place, 'unavailable', message);
}

// The `mount` step: a helper in a unit of its own, or a bind by handle; and then the mount table, which alone says what
// happened. Nothing of an earlier attempt acts when a new one begins, and nothing of a failed one acts when it ends, or
// the end is `unknown` with the code `stuck`.

import type { MountWay } from '../../backends/backend.js';
import type { StepEnd } from '../../core/steps.js';
import { requireEmptyLeaf, requireRecognised, requireSoundBase, requireSoundConfigFile } from '../policy.js';
import { makeQuiet } from '../quiet.js';
import { look } from '../sight.js';
import { CHANGED, refused, UNCHANGED, unknown } from '../step-ends.js';
import { mountByHelper } from './mount-by-helper.js';
import type { Attempt, Executor } from './step.js';
import { takeAway } from './take-away.js';

/** See the file's head. */
export const mount: Executor = async (attempt) => {
  const { context, place, deadline } = attempt;
  place.authorise();
  requireSoundBase(context, place);
  requireSoundConfigFile(context, place);
  requireRecognised(place, look(context, place));
  if ((await makeQuiet(context, place, deadline, 'end-all')) === 'acting') {
    return refused(place, 'stuck', 'An earlier operation on this volume may still act. It is worked off; try again.');
  }
  // What was killed may have mounted in its last moment, and the base may have changed while we waited.
  requireSoundBase(context, place);
  const now = look(context, place);
  if (requireRecognised(place, now) !== null) return UNCHANGED;
  requireEmptyLeaf(place, now.directory);
  const way = place.mountWay();
  return way.way === 'bind' ? bind(attempt, way) : mountByHelper(attempt, way);
};

async function bind(attempt: Attempt, way: Extract<MountWay, { way: 'bind' }>): Promise<StepEnd> {
  const { context, place, begin } = attempt;
  const { mounts } = context.machine;
  begin();
  context.reach('broker.mount.starting');
  const end = mounts.bind(way.source, way.roots, place.base, place.volume.leaf, place.settings.hardening);
  switch (end) {
    case 'bound':
      break;
    case 'source-absent':
      return refused(place, 'not-found', 'The directory that the volume names does not exist.', { field: 'volume' });
    case 'source-not-a-directory':
      return refused(place, 'not-found', 'What the volume names is not a directory.', { field: 'volume' });
    case 'source-link':
      return refused(
        place,
        'permission-denied',
        'A symbolic link lies on the way to the directory; name the real one.',
        {
          field: 'volume',
        },
      );
    case 'source-outside':
      return refused(place, 'permission-denied', 'The directory is not below one of backend.local.roots.', {
        field: 'volume',
      });
    case 'leaf-changed':
      return refused(place, 'foreign', 'The leaf changed while the volume was mounted. Find out who changed it.');
  }
  const { top } = look(context, place);
  if (top?.recognised === true) {
    context.reach('broker.mount.done');
    return CHANGED;
  }
  if (top === undefined) return refused(place, 'unavailable', 'The mount vanished as soon as it was made. Try again.');
  const gone = await takeAway(attempt, place.base, place.volume.leaf, top.entry);
  const message = 'The directory was exchanged while it was mounted. Find out who did, then try again.';
  return gone ? refused(place, 'foreign', message) : unknown(place, 'foreign', message);
}

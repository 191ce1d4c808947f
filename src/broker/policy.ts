// What the broker refuses on its own, whatever the agent asks for and however it was planned. Pure decisions over facts
// that the broker has just looked at itself; each throws a FairleadError, and nothing has been done by then.

import { FairleadError } from '../core/errors.js';
import type { LeafState } from '../core/observation.js';
import { obstructionAt } from '../core/obstruction.js';
import type { Judgement } from '../core/verdict.js';
import { baseFault, fileFault } from '../sys/soundness.js';
import type { Context } from './context.js';
import type { Place } from './place.js';
import { OUT_OF_PLACE, type SeenMount, type Sight } from './sight.js';

/** Refuses a place whose base is unsound now. */
export function requireSoundBase(context: Context, place: Place): void {
  const fault = baseFault(context.machine.directories.chain(place.base), context.settings.trustedBaseOwners);
  if (fault === null) return;
  throw new FairleadError('permission-denied', `The mount base is unsound: ${fault.message} Mend it: ${fault.mend}`, {
    field: 'mount_base',
    leaf: place.volume.leaf,
  });
}

/**
 * Refuses a place whose helper would read a configuration that somebody else than root can write. It is looked at before
 * every mount; since only root could exchange it afterwards, it is the same file at use.
 */
export function requireSoundConfigFile(context: Context, place: Place): void {
  if (place.configFile === null) return;
  if (fileFault(context.machine.directories.chain(place.configFile)) === null) return;
  const message =
    'The client configuration is missing, or somebody else than root can write it. Run `fairlead doctor`.';
  throw new FairleadError('helper-untrusted', message, { field: 'client_config', leaf: place.volume.leaf });
}

/**
 * The mount to work on: the topmost one, if it is the volume; null if nothing is mounted. Refuses foreign ones, and those
 * of which it cannot be told.
 */
export function requireRecognised(place: Place, sight: Sight): SeenMount | null {
  if (sight.top === undefined) return null;
  if (sight.doubt !== null) throw inDoubt(place, sight.doubt);
  if (sight.top.recognised) return sight.top;
  throw foreign(
    place,
    'Another filesystem is mounted at this leaf, and it is not touched. Unmount it, then try again.',
  );
}

/** Refuses a bind whose directory is not the one that the volume names now. */
export function requireInPlace(place: Place, mount: SeenMount): SeenMount {
  if (!mount.isOutOfPlace) return mount;
  throw new FairleadError('unhealthy', `${OUT_OF_PLACE.reason} ${OUT_OF_PLACE.advice ?? ''}`, {
    leaf: place.volume.leaf,
  });
}

/** Refuses to mount onto anything but an empty directory. Call it only when nothing is mounted. */
export function requireEmptyLeaf(place: Place, directory: LeafState): void {
  const obstruction = obstructionAt(directory);
  if (obstruction !== null) throw foreign(place, obstruction);
  switch (directory) {
    case 'empty':
      return;
    case 'absent':
      throw new FairleadError('not-found', 'The leaf directory does not exist. Make it first.', {
        leaf: place.volume.leaf,
      });
    default:
      throw new FairleadError('unavailable', 'The mount table changed while it was read. Try again.', {
        leaf: place.volume.leaf,
      });
  }
}

/**
 * How a dead mount may be taken away from under its users: lazily only if its connection is gone (ENOTCONN), plainly if
 * its server disowns it. Refuses anything that is not proven dead.
 */
export function requireDead(place: Place, judgement: Judgement): 'plain' | 'detach' {
  if (judgement.dead) return judgement.errno === 'ENOTCONN' ? 'detach' : 'plain';
  if (judgement.verdict === 'hung') {
    throw new FairleadError('hung', 'The mount does not answer; hung is not dead, so it is not detached.', {
      leaf: place.volume.leaf,
    });
  }
  throw new FairleadError('permission-denied', 'The mount is not proven dead, so it is not taken away.', {
    leaf: place.volume.leaf,
  });
}

/** The error of a mount of which it cannot be told whether it is the volume. */
export function inDoubt(place: Place, { verdict, reason }: Judgement): FairleadError {
  return new FairleadError(
    verdict === 'hung' ? 'hung' : 'unhealthy',
    `The directory that the volume names cannot be looked at: ${reason} Look at the storage it lies on, then try again.`,
    { leaf: place.volume.leaf },
  );
}

function foreign(place: Place, message: string): FairleadError {
  return new FairleadError('foreign', message, { leaf: place.volume.leaf });
}

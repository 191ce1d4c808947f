// What the broker refuses on its own, whatever the agent asks for and however it was planned. Pure decisions over facts
// that the broker has just looked at itself; each throws a FairleadError, and nothing has been done by then.

import { FairleadError } from '../core/errors.js';
import type { LeafState } from '../core/observation.js';
import type { Judgement } from '../core/verdict.js';
import type { DirectoryFacts } from '../sys/ports.js';
import type { Context } from './context.js';
import type { Place } from './place.js';
import type { SeenMount, Sight } from './sight.js';

/** Permission bits (inode(7)). */
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

/** What is wrong with a directory, and what mends it. */
export interface Fault {
  readonly message: string;
  readonly mend: string;
}

/**
 * What makes a base unsound; null if nothing does. Each directory down to it must be a real one, owned by root or a
 * trusted owner, and writable by nobody else. Above the base a sticky directory (`/tmp`) is sound too: in it nobody but
 * the owner can replace what root or a trusted owner has made.
 */
export function baseFault(chain: readonly DirectoryFacts[], trustedOwners: readonly number[]): Fault | null {
  const base = chain.at(-1);
  if (base === undefined) return { message: 'The base has no path.', mend: 'Set mount_base.' };
  const absent = chain.find(({ kind }) => kind === 'absent');
  if (absent !== undefined) {
    return { message: `${absent.path} does not exist.`, mend: `install -d -o root -g root -m 0711 ${base.path}` };
  }
  return chainFault(chain, trustedOwners, 'directory');
}

/** The same for a file that a helper reads as root: root's alone, and so is everything on the way to it. */
export function fileFault(chain: readonly DirectoryFacts[]): Fault | null {
  const absent = chain.find(({ kind }) => kind === 'absent');
  if (absent !== undefined) {
    return { message: `${absent.path} does not exist.`, mend: 'Put it there, or change the setting that names it.' };
  }
  return chainFault(chain, [], 'regular');
}

function chainFault(
  chain: readonly DirectoryFacts[],
  owners: readonly number[],
  lastKind: 'directory' | 'regular',
): Fault | null {
  for (const [index, { path, kind, uid, mode }] of chain.entries()) {
    const isLast = index === chain.length - 1;
    if (kind === 'link') return { message: `${path} is a symbolic link.`, mend: 'Name the real path in the setting.' };
    if (kind !== (isLast ? lastKind : 'directory')) {
      const wanted = isLast && lastKind === 'regular' ? 'a regular file' : 'a directory';
      return { message: `${path} is not ${wanted}.`, mend: 'Change the setting that names it.' };
    }
    if (uid !== 0 && !owners.includes(uid)) {
      return { message: `${path} belongs to another user than root.`, mend: `chown root ${path}` };
    }
    if ((mode & WRITABLE_BY_OTHERS) !== 0 && (isLast || (mode & STICKY) === 0)) {
      return { message: `${path} can be written by others than its owner.`, mend: `chmod go-w ${path}` };
    }
  }
  return null;
}

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

/** Refuses to mount onto anything but an empty directory. Call it only when nothing is mounted. */
export function requireEmptyLeaf(place: Place, directory: LeafState): void {
  switch (directory) {
    case 'empty':
      return;
    case 'absent':
      throw new FairleadError('not-found', 'The leaf directory does not exist. Make it first.', {
        leaf: place.volume.leaf,
      });
    case 'occupied':
      throw foreign(place, 'The leaf is a directory with something in it. Empty or remove it, then try again.');
    case 'link':
      throw foreign(place, 'A symbolic link lies where the leaf belongs. Find out who made it and remove it.');
    case 'not-a-directory':
      throw foreign(place, 'A file lies where the leaf belongs. Find out who made it and remove it.');
    case 'mounted':
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

// One look at a leaf: the mount table and the directory, and which of the mounts there are the volume. Nothing is
// changed but what is written down of binds, and no server is asked, except for the identity of a directory that was
// bound; a child does that.

import type { BackendSettings } from '../backends/backend.js';
import type { MountEntry } from '../core/mountinfo.js';
import { MAX_OBSERVED_MOUNTS, MAX_TYPE_LETTERS } from '../core/limits.js';
import { FairleadError } from '../core/errors.js';
import type { FormerClient, LeafState, ObservedMount } from '../core/observation.js';
import type { Judgement } from '../core/verdict.js';
import type { Context } from './context.js';
import { type Deadline, LATE, within } from '../core/deadline.js';
import type { Place } from './place.js';
import { type Bind, isSameDirectory, isSameMount } from './bound.js';
import type { LeafPlace } from './leaf-notes.js';
import { HUNG, type Identified } from './prober.js';

/** A mount at a leaf. */
export interface SeenMount {
  readonly entry: MountEntry;
  /** It is the volume's, or ours for the volume ({@link isOutOfPlace}). True in doubt as well, see {@link Sight.doubt}. */
  readonly recognised: boolean;
  /** It is our bind, and the directory that was bound is not the one that the volume names now. */
  readonly isOutOfPlace: boolean;
}

/** What lies at a leaf. */
export interface Sight {
  readonly directory: LeafState;
  /** Bottom first. */
  readonly mounts: readonly SeenMount[];
  /** Among what is not recognised, or lies too deep to be looked at, may be our mount. */
  readonly mayHideOurs: boolean;
  /** Binds of ours that the kernel has, and that are not in the stack: moved, or below a base that was covered or renamed. */
  readonly outOfSight: readonly Bind[];
  /** The mount that a path walk arrives at. */
  readonly top: SeenMount | undefined;
  /**
   * Why it cannot be told now whether the mounts are the volume: the directory that was bound hangs, or answers an error.
   * They are neither called foreign nor touched then. Null: it can be told, or nothing is mounted.
   */
  readonly doubt: Judgement | null;
}

/** What is said of a bind whose directory is not where it was. It lives, and shows what nobody asked for. */
export const OUT_OF_PLACE: Judgement = {
  verdict: 'stale',
  reason: 'The directory that the volume names was renamed, removed or replaced; what is mounted is the one before.',
  advice: 'Put it back, or disconnect everybody who uses the volume, then connect again.',
  dead: false,
};

/** Looks that are begun anew because the mount changed while its directory was identified. */
const LOOKS = 3;

/** Looks. Throws `deadline-exceeded` when the time is up before the directory that was bound has answered. */
export async function look(context: Context, place: Place, deadline: Deadline): Promise<Sight> {
  for (let looks = 1; ; looks += 1) {
    const top = stackAt(context, place).at(-1);
    if (place.identifiedBy === null || top === undefined) return sightOf(context, place, null);
    const asking = context.prober.identify(place.target(top.dev), place.identifiedBy);
    const identified = await within(context.machine.clock, asking, deadline.remaining);
    if (identified === LATE) {
      const message = 'The time was up before the volume had been looked at. Try again with a later deadline.';
      throw new FairleadError('deadline-exceeded', message, { leaf: place.volume.leaf });
    }
    const now = stackAt(context, place).at(-1);
    const isOfTop = identified.end !== 'answered' || identified.mounted?.mountId === now?.mountId;
    if (isOfTop && (now === undefined || isSameMount(now, top))) return sightOf(context, place, identified);
    if (looks === LOOKS) {
      throw new FairleadError('unavailable', 'The mount changes while it is looked at. Try again.', {
        leaf: place.volume.leaf,
      });
    }
  }
}

/**
 * The mounts at the leaf. A walk to it must agree with the table: a directory above, or the leaf itself (from another mount
 * namespace), may have been renamed, of which the table does not tell by itself.
 */
function stackAt({ machine }: Context, { base, mountpoint, volume }: Place): readonly MountEntry[] {
  const stack = machine.table.at(mountpoint);
  if (stack.length > 0 === machine.directories.isMounted(base, volume.leaf)) return stack;
  machine.table.forget();
  return machine.table.at(mountpoint);
}

/** The leaf as it is at this moment. `identified` null: nobody was asked. */
function sightOf(context: Context, place: Place, identified: Identified | null): Sight {
  const { machine } = context;
  const stack = stackAt(context, place);
  const entries = stack.slice(-MAX_OBSERVED_MOUNTS);
  const doubt = entries.length === 0 || identified === null ? null : doubtOf(place, identified);
  const mounts = entries.map((entry): SeenMount => {
    if (place.identifiedBy === null || doubt !== null) {
      return { entry, recognised: doubt !== null || place.recognises(entry), isOutOfPlace: false };
    }
    return { entry, ...recogniseBind(context, place, entry, identified) };
  });
  const directory = entries.length > 0 ? 'mounted' : machine.directories.leafState(place.base, place.volume.leaf);
  const outOfSight = bindsOutOfSight(context, place, stack);
  const mayHideOurs = stack.length > entries.length || mayHideBind(context, place, mounts);
  return { directory, mounts, mayHideOurs, outOfSight, top: mounts.at(-1), doubt };
}

/** Whether a mount that is not recognised may be a bind of ours: nothing is written down, or one that nobody has seen. */
function mayHideBind({ bound }: Context, place: Place, mounts: readonly SeenMount[]): boolean {
  if (place.identifiedBy === null) return false;
  const known = bound.of(place);
  if (known === undefined) return mounts.some(({ recognised }) => !recognised);
  // Of the one that a walk arrives at it was asked which directory it is.
  return known.some(({ mount }) => mount === null) && mounts.slice(0, -1).some(({ recognised }) => !recognised);
}

/**
 * The binds of a leaf that the kernel has and that are not in the stack there. What it has no more is forgotten; what
 * nobody has seen may be any mount at a directory of that name.
 */
export function bindsOutOfSight(
  { machine, bound }: Context,
  place: LeafPlace,
  stack: readonly MountEntry[],
): readonly Bind[] {
  const known = bound.of(place) ?? [];
  const away = known.filter(({ mount }) => mount === null || !stack.some((entry) => isSameMount(entry, mount)));
  const gone = away.filter(({ mount }) => mount !== null && !machine.table.has(mount));
  bound.forget(place, gone);
  return away.filter((one) => !gone.includes(one) && (one.mount !== null || isAnywhere()));

  function isAnywhere(): boolean {
    const others = [...stack, ...known.flatMap(({ mount }) => mount ?? [])];
    return machine.table
      .below('/')
      .some(
        (entry) => entry.mountPoint.endsWith(`/${place.volume.leaf}`) && !others.some((one) => isSameMount(one, entry)),
      );
  }
}

/** Binds out of sight, as an observation shows them: somebody may use each of them. */
export function formerBinds(outOfSight: readonly Bind[]): FormerClient[] {
  return outOfSight.map(() => ({ state: 'serving' }));
}

/**
 * Is this bind the volume's? The one that a walk arrives at is told by the inodes of its root and of the directory that the
 * volume names; one below, which no walk reaches, by what was written down of it.
 */
function recogniseBind(
  { bound }: Context,
  place: Place,
  entry: MountEntry,
  identified: Identified | null,
): Pick<SeenMount, 'recognised' | 'isOutOfPlace'> {
  const known = bound.of(place) ?? [];
  const { mounted, source } = identified?.end === 'answered' ? identified : NOBODY;
  if (mounted?.mountId !== entry.mountId) {
    const isKnown = known.some(({ mount }) => mount !== null && isSameMount(mount, entry));
    return { recognised: isKnown, isOutOfPlace: false };
  }
  const isRight = source !== null && isSameDirectory(source, mounted);
  const isOurs = isRight || known.some(({ directory }) => isSameDirectory(directory, mounted));
  if (isOurs) bound.learn(place, mounted, { mountId: entry.mountId, dev: entry.dev, unique: mounted.unique });
  return { recognised: isOurs, isOutOfPlace: isOurs && !isRight };
}

const NOBODY = { mounted: null, source: null } as const;

/** Why it cannot be told which directory is which; null: it can. */
export function doubtOf(place: Place, identified: Identified): Judgement | null {
  switch (identified.end) {
    case 'answered':
      return null;
    case 'hung':
      return place.judge(HUNG, 'read-only');
    case 'failed':
      // It says nothing of the mount itself, which lives on if its directory was only taken out of sight.
      return { ...place.judge({ ...HUNG, statfs: identified }, 'read-only'), dead: false };
  }
}

/** Whether the mount that was seen is still the topmost one at its leaf. */
export function stillOnTop(context: Context, place: Place, seen: SeenMount): boolean {
  const top = context.machine.table.at(place.mountpoint).at(-1);
  return top !== undefined && isSameMount(top, seen.entry);
}

/** Whether the mount that was seen is still anywhere in the stack at its leaf. */
export function stillThere(context: Context, place: Place, seen: SeenMount): boolean {
  return context.machine.table.at(place.mountpoint).some((entry) => isSameMount(entry, seen.entry));
}

/** Whether the mount carries every attribute that the configuration asks for. */
export function isHardened(entry: MountEntry, { hardening }: BackendSettings): boolean {
  return (['nosuid', 'nodev', 'noexec', 'nosymfollow'] as const).every(
    (name) => !hardening[name] || entry.options.includes(name),
  );
}

/** The mounts as they may leave this process: without IDs, sources or paths. */
export function describeMounts(mounts: readonly SeenMount[], settings: BackendSettings): ObservedMount[] {
  return mounts.map(({ entry, recognised }) => ({
    recognised,
    fsType: entry.fsType.slice(0, MAX_TYPE_LETTERS),
    dev: entry.dev,
    readOnly: entry.options.includes('ro') || entry.superOptions.includes('ro'),
    hardened: isHardened(entry, settings),
  }));
}

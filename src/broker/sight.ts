// One look at a leaf: the mount table and the directory, and which of the mounts there are the volume. Nothing is
// changed, and no server is asked, except for the identity of a directory that was bound; a child does that.

import type { BackendSettings } from '../backends/backend.js';
import type { MountEntry } from '../core/mountinfo.js';
import { MAX_OBSERVED_MOUNTS } from '../core/limits.js';
import { FairleadError } from '../core/errors.js';
import type { LeafState, ObservedMount } from '../core/observation.js';
import type { Judgement } from '../core/verdict.js';
import type { Context } from './context.js';
import { type Deadline, LATE, within } from '../core/deadline.js';
import type { Place } from './place.js';
import { HUNG, type Identified } from './prober.js';

/** A mount at a leaf. */
export interface SeenMount {
  readonly entry: MountEntry;
  /** True in doubt as well, see {@link Sight.doubt}. */
  readonly recognised: boolean;
}

/** What lies at a leaf. */
export interface Sight {
  readonly directory: LeafState;
  /** Bottom first. */
  readonly mounts: readonly SeenMount[];
  /** More mounts lie below those, too many to be looked at. */
  readonly isDeep: boolean;
  /** The mount that a path walk arrives at. */
  readonly top: SeenMount | undefined;
  /**
   * Why it cannot be told now whether the mounts are the volume: the directory that was bound hangs, or answers an error.
   * They are neither called foreign nor touched then. Null: it can be told, or nothing is mounted.
   */
  readonly doubt: Judgement | null;
}

/** Looks. Throws `deadline-exceeded` when the time is up before the directory that was bound has answered. */
export async function look(context: Context, place: Place, deadline: Deadline): Promise<Sight> {
  const top = context.machine.table.at(place.mountpoint).at(-1);
  if (place.identifiedBy === null || top === undefined) {
    return sightOf(context, place, { end: 'answered', identity: null });
  }
  const asking = context.prober.identify(place.target(top.dev), place.identifiedBy);
  const identified = await within(context.machine.clock, asking, deadline.remaining);
  if (identified === LATE) {
    const message = 'The time was up before the volume had been looked at. Try again with a later deadline.';
    throw new FairleadError('deadline-exceeded', message, { leaf: place.volume.leaf });
  }
  return sightOf(context, place, identified);
}

/** The table as it is at this moment. */
function sightOf({ machine }: Context, place: Place, identified: Identified): Sight {
  const stack = machine.table.at(place.mountpoint);
  const entries = stack.slice(-MAX_OBSERVED_MOUNTS);
  const doubt = entries.length === 0 ? null : doubtOf(place, identified);
  const source = identified.end === 'answered' ? identified.identity : null;
  const mounts = entries.map((entry) => ({ entry, recognised: doubt !== null || place.recognises(entry, source) }));
  const directory = entries.length > 0 ? 'mounted' : machine.directories.leafState(place.base, place.volume.leaf);
  return { directory, mounts, isDeep: stack.length > entries.length, top: mounts.at(-1), doubt };
}

function doubtOf(place: Place, identified: Identified): Judgement | null {
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
  return top !== undefined && sameMount(top, seen.entry);
}

/** Whether the mount that was seen is still anywhere in the stack at its leaf. */
export function stillThere(context: Context, place: Place, seen: SeenMount): boolean {
  return context.machine.table.at(place.mountpoint).some((entry) => sameMount(entry, seen.entry));
}

/** Mount IDs are used again, so an ID alone is no identity. */
function sameMount(one: MountEntry, other: MountEntry): boolean {
  return one.mountId === other.mountId && one.dev === other.dev;
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
    fsType: entry.fsType,
    dev: entry.dev,
    readOnly: entry.options.includes('ro') || entry.superOptions.includes('ro'),
    hardened: isHardened(entry, settings),
  }));
}

// One look at a leaf: the mount table and the directory, and which of the mounts there are the volume. No server is
// asked, nothing is changed.

import type { BackendSettings } from '../backends/backend.js';
import type { MountEntry } from '../core/mountinfo.js';
import { MAX_OBSERVED_MOUNTS } from '../core/limits.js';
import type { LeafState, ObservedMount } from '../core/observation.js';
import type { Context } from './context.js';
import type { Place } from './place.js';

/** A mount at a leaf. */
export interface SeenMount {
  readonly entry: MountEntry;
  readonly recognised: boolean;
}

/** What lies at a leaf. */
export interface Sight {
  readonly directory: LeafState;
  /** Bottom first. */
  readonly mounts: readonly SeenMount[];
  /** The mount that a path walk arrives at. */
  readonly top: SeenMount | undefined;
}

/** Looks. */
export function look(context: Context, place: Place): Sight {
  const { machine } = context;
  const entries = machine.table.at(place.mountpoint);
  const source = entries.length === 0 ? null : place.sourceOf();
  const mounts = entries.map((entry) => ({ entry, recognised: place.recognises(entry, source) }));
  const directory = entries.length > 0 ? 'mounted' : machine.directories.leafState(place.base, place.volume.leaf);
  return { directory, mounts, top: mounts.at(-1) };
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

/** Whether the mount carries every attribute that the profile asks for. */
export function isHardened(entry: MountEntry, { hardening }: BackendSettings): boolean {
  return (['nosuid', 'nodev', 'noexec', 'nosymfollow'] as const).every(
    (name) => !hardening[name] || entry.options.includes(name),
  );
}

/** The mounts as they may leave this process: without IDs, sources or paths; of a tall stack only the top. */
export function describeMounts(mounts: readonly SeenMount[], settings: BackendSettings): ObservedMount[] {
  return mounts.slice(-MAX_OBSERVED_MOUNTS).map(({ entry, recognised }) => ({
    recognised,
    fsType: entry.fsType,
    dev: entry.dev,
    readOnly: entry.options.includes('ro') || entry.superOptions.includes('ro'),
    hardened: isHardened(entry, settings),
  }));
}

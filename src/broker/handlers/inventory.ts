// `hello` and `inventory`: the world as it is found at a start. An inventory asks no server; it goes over the table and
// the bases once.

import { backendOf } from '../../backends/registry.js';
import { FairleadError } from '../../core/errors.js';
import { INVENTORY_PART_BYTES, MAX_OBSERVED_MOUNTS } from '../../core/limits.js';
import type { InventoryItem } from '../../core/observation.js';
import type { MountEntry } from '../../core/mountinfo.js';
import { isBelow, mountpointOf } from '../../core/paths.js';
import {
  type BackendName,
  BACKEND_NAMES,
  isLeaf,
  type Leaf,
  type LeafName,
  leafOf,
  type Volume,
  type VolumeUrl,
} from '../../core/volume.js';
import { adoptUnits, clientsOf, type ClientSite, formerOf, unitOf } from '../client-states.js';
import type { Context } from '../context.js';
import type { Deadline } from '../../core/deadline.js';
import type { Bind } from '../bound.js';
import type { LeafPlace } from '../leaf-notes.js';
import { placeOfVolume } from '../place.js';
import { mayBeFrom } from '../possible-superblocks.js';
import { type InventoryPart, PROTOCOL_VERSION } from '../protocol.js';
import { bindsOutOfSight, describeMounts, formerBinds, look, type SeenMount } from '../sight.js';
import type { Handler } from './handler.js';

/** The first request of every connection. Versions are compared by whoever asks. */
export const hello: Handler<'hello'> = ({ context }) =>
  Promise.resolve({ version: PROTOCOL_VERSION, bootId: context.machine.bootId });

/** Every mount at a leaf, every leaf directory and every client of ours, or those of the leaves asked for, in parts. */
export const inventory: Handler<'inventory'> = async ({ context, deadline, emit }, { leaves }) => {
  await adoptUnits(context, deadline);
  // The roots of binds are names, which change without a word.
  context.machine.table.forget();
  for (const backend of BACKEND_NAMES) {
    if (leaves === 'all') forgetUnbound(context, context.settings.backends[backend].mountBase);
    const items: InventoryItem[] = [];
    const wanted = leaves === 'all' ? leavesOf(context, backend) : leavesIn(leaves, backend);
    for (const leaf of wanted) {
      const item = await itemOf(context, backend, leaf, deadline);
      if (item !== null) items.push(item);
    }
    emitAll(items, emit);
  }
  return { bootId: context.machine.bootId };
};

/** Where there is no directory to bind to, nothing of ours is bound any more but what is out of sight. */
function forgetUnbound(context: Context, base: string): void {
  const { machine, bound } = context;
  if (machine.directories.chain(base).at(-1)?.kind !== 'directory') return;
  for (const leaf of bound.leaves(base)) {
    const place = { base, volume: { leaf } };
    const state = machine.directories.leafState(base, leaf);
    if (state === 'empty' || state === 'mounted') continue;
    if (outOfSightOf(context, place).length === 0) bound.drop(place);
  }
}

function outOfSightOf(context: Context, place: LeafPlace): readonly Bind[] {
  return bindsOutOfSight(context, place, context.machine.table.at(mountpointOf(place.base, place.volume.leaf)));
}

function leavesIn(names: readonly LeafName[], backend: BackendName): readonly Leaf[] {
  return names.filter((name) => name.backend === backend).map(({ leaf }) => leaf);
}

/** Leaves below the base that have a mount, a directory or a client, or of which a bind is written down. */
function leavesOf(context: Context, backend: BackendName): readonly Leaf[] {
  const { table, directories } = context.machine;
  const base = context.settings.backends[backend].mountBase;
  const names = new Set<string>(table.below(base).map(({ mountPoint }) => mountPoint.slice(base.length + 1)));
  for (const leaf of [...context.clients.leaves(base), ...context.bound.leaves(base)]) names.add(leaf);
  if (directories.chain(base).at(-1)?.kind === 'directory') {
    for (const name of directories.list(base)) names.add(name);
  }
  return [...names].filter(isLeaf);
}

async function itemOf(
  context: Context,
  backend: BackendName,
  leaf: Leaf,
  deadline: Deadline,
): Promise<InventoryItem | null> {
  const settings = context.settings.backends[backend];
  const base = settings.mountBase;
  const mountpoint = mountpointOf(base, leaf);
  const entries = context.machine.table.at(mountpoint);
  const volume = entries.length === 0 ? null : volumeOf(context, backend, leaf, mountpoint);
  const sight = volume === null ? null : await look(context, placeOfVolume(context, volume), deadline);
  const mounts = sight?.mounts ?? entries.slice(-MAX_OBSERVED_MOUNTS).map(unrecognised);
  const directory = entries.length > 0 ? 'mounted' : context.machine.directories.leafState(base, leaf);
  const clients = context.clients.of({ base, volume: { leaf } });
  const outOfSight = formerBinds(outOfSightOf(context, { base, volume: { leaf } }));
  if (directory === 'absent' && clients.length === 0 && outOfSight.length === 0) return null;
  return {
    backend,
    leaf,
    mountpoint,
    directory,
    mounts: describeMounts(mounts, settings),
    mayHideOurs: sight?.mayHideOurs ?? entries.length > 0,
    ...(await unitsOf()),
    ...(outOfSight.length === 0 ? {} : { unit: 'idle', former: outOfSight }),
    ...(volume === null ? {} : { url: volume.url }),
  };

  /** Where one client serves what is mounted nobody is asked: a thousand of them, one by one, would take their time. */
  async function unitsOf(): Promise<Pick<InventoryItem, 'unit' | 'former'>> {
    const top = mounts.at(-1);
    const isSteady = clients.length === 1 && top?.recognised === true && clients[0]?.superblock?.dev === top.entry.dev;
    if (clients.length === 0) return { unit: 'idle', former: [] };
    if (isSteady && clients[0]?.isOver === true) return { unit: 'serving', former: [] };
    const states = await clientsOf(context, siteOf(backend, base, leaf), deadline);
    if (states === null) throw late();
    return { unit: unitOf(states), former: formerOf(states) };
  }
}

function unrecognised(entry: MountEntry): SeenMount {
  return { entry, recognised: false, isOutOfPlace: false };
}

/** A leaf whose volume need not be known: a mount is this one's if its source and the leaf prove each other. */
function siteOf(name: BackendName, base: string, leaf: Leaf): ClientSite {
  const backend = backendOf(name);
  const mountpoint = mountpointOf(base, leaf);
  return {
    base,
    mountpoint,
    volume: { leaf },
    identifiedBy: null,
    recognises: (entry) => backend.candidateExports(entry, []).some((exported) => leafOf(exported) === leaf),
    mayBeIts: (entry) => mayBeFrom(name, mountpoint, entry),
  };
}

/** The volume whose export the table names and whose leaf this is: source and leaf prove each other. */
function volumeOf(context: Context, name: BackendName, leaf: Leaf, mountpoint: string): Volume | null {
  const backend = backendOf(name);
  for (const entry of context.machine.table.at(mountpoint)) {
    const paths = backend.identifiedBySource ? pathsOf(context, entry) : [];
    const exported = backend.candidateExports(entry, paths).find((candidate) => leafOf(candidate) === leaf);
    if (exported !== undefined) {
      return { backend: name, export: exported, url: `${name}://${exported}` as VolumeUrl, leaf };
    }
  }
  return null;
}

/** The paths at which the host shows the root of a mount, besides mounts of ours: as names, which a look must prove. */
function pathsOf({ machine, settings }: Context, entry: MountEntry): readonly string[] {
  const bases = BACKEND_NAMES.map((name) => settings.backends[name].mountBase);
  const isOurs = ({ mountPoint }: MountEntry): boolean => bases.some((base) => isBelow(mountPoint, base));
  return [...machine.table.at('/'), ...machine.table.below('/')]
    .filter((mount) => mount.dev === entry.dev && !isOurs(mount))
    .flatMap(({ root, mountPoint }) => {
      if (entry.root === root) return [mountPoint];
      if (!isBelow(entry.root, root)) return [];
      const within = root === '/' ? entry.root : entry.root.slice(root.length);
      return [mountPoint === '/' ? within : mountPoint + within];
    });
}

/** Sends everything in parts that fit into frames. */
function emitAll(items: readonly InventoryItem[], emit: (part: InventoryPart) => void): void {
  let part: InventoryPart = { items: [] };
  let bytes = 0;
  for (const item of items) {
    part.items.push({ ...item, mounts: [...item.mounts], former: [...item.former] });
    bytes += JSON.stringify(item).length;
    if (bytes < INVENTORY_PART_BYTES) continue;
    emit(part);
    part = { items: [] };
    bytes = 0;
  }
  if (bytes > 0) emit(part);
}

function late(): FairleadError {
  return new FairleadError('deadline-exceeded', 'The inventory was not complete in time. Try again.');
}

// `hello` and `inventory`: the world as it is found at a start. An inventory asks no server; it goes over the table and
// the bases once.

import { backendOf } from '../../backends/registry.js';
import { FairleadError } from '../../core/errors.js';
import { INVENTORY_PART_BYTES } from '../../core/limits.js';
import type { InventoryItem, UnitState } from '../../core/observation.js';
import { mountpointOf } from '../../core/paths.js';
import {
  type BackendName,
  BACKEND_NAMES,
  isLeaf,
  type Leaf,
  leafOf,
  type Volume,
  type VolumeUrl,
} from '../../core/volume.js';
import type { Context } from '../context.js';
import { type Deadline, LATE, within } from '../../core/deadline.js';
import { placeOfVolume } from '../place.js';
import { type InventoryPart, PROTOCOL_VERSION } from '../protocol.js';
import { unitState } from '../quiet.js';
import { describeMounts, look, type SeenMount } from '../sight.js';
import { leafOfUnit, unitName, unitPrefix } from '../unit-names.js';
import type { Handler } from './handler.js';

/** The first request of every connection. Versions are compared by whoever asks. */
export const hello: Handler<'hello'> = ({ context }) =>
  Promise.resolve({ version: PROTOCOL_VERSION, bootId: context.machine.bootId });

/** Every mount at a leaf, every leaf directory and every unit of ours, in parts. */
export const inventory: Handler<'inventory'> = async ({ context, deadline, emit }) => {
  for (const backend of BACKEND_NAMES) {
    const units = await unitsOf(context, backend, deadline);
    const items: InventoryItem[] = [];
    for (const leaf of leavesOf(context, backend)) {
      const item = await itemOf(context, backend, leaf, units, deadline);
      if (item !== null) items.push(item);
    }
    emitAll(items, [...units.all], emit);
  }
  return { bootId: context.machine.bootId };
};

/** Leaves whose units exist. */
interface Units {
  readonly mount: ReadonlySet<Leaf>;
  /** Those of unmount helpers too. */
  readonly all: ReadonlySet<Leaf>;
}

async function unitsOf(context: Context, backend: BackendName, deadline: Deadline): Promise<Units> {
  const { machine, settings } = context;
  const base = settings.backends[backend].mountBase;
  const mount = new Set<Leaf>();
  const all = new Set<Leaf>();
  for (const purpose of ['mount', 'unmount'] as const) {
    const names = await within(machine.clock, machine.units.list(unitPrefix(purpose, base)), deadline.remaining);
    if (names === LATE) throw late();
    for (const name of names) {
      const leaf = leafOfUnit(purpose, base, name);
      if (leaf === null) continue;
      all.add(leaf);
      if (purpose === 'mount') mount.add(leaf);
    }
  }
  return { mount, all };
}

/** Leaves below the base that have a mount or a directory. */
function leavesOf(context: Context, backend: BackendName): readonly Leaf[] {
  const { table, directories } = context.machine;
  const base = context.settings.backends[backend].mountBase;
  const names = new Set(table.below(base).map(({ mountPoint }) => mountPoint.slice(base.length + 1)));
  if (directories.chain(base).at(-1)?.kind === 'directory') {
    for (const name of directories.list(base)) names.add(name);
  }
  return [...names].filter(isLeaf);
}

async function itemOf(
  context: Context,
  backend: BackendName,
  leaf: Leaf,
  units: Units,
  deadline: Deadline,
): Promise<InventoryItem | null> {
  const settings = context.settings.backends[backend];
  const base = settings.mountBase;
  const mountpoint = mountpointOf(base, leaf);
  const entries = context.machine.table.at(mountpoint);
  const volume = entries.length === 0 ? null : volumeOf(context, backend, leaf, mountpoint);
  const mounts: readonly SeenMount[] =
    volume === null
      ? entries.map((entry) => ({ entry, recognised: false }))
      : (await look(context, placeOfVolume(context, volume), deadline)).mounts;
  const directory = entries.length > 0 ? 'mounted' : context.machine.directories.leafState(base, leaf);
  if (directory === 'absent') return null;
  const unit = await unitOf();
  return {
    backend,
    leaf,
    mountpoint,
    directory,
    mounts: describeMounts(mounts, settings),
    unit,
    ...(volume === null ? {} : { url: volume.url }),
  };

  async function unitOf(): Promise<UnitState> {
    if (!units.mount.has(leaf)) return 'idle';
    // Where the volume is mounted nobody is asked: a thousand daemons, one by one, would take their time.
    if (mounts.at(-1)?.recognised === true) return 'serving';
    const state = await unitState(context, unitName('mount', base, leaf), deadline);
    if (state === null) throw late();
    return state;
  }
}

/** The volume whose export the table names and whose leaf this is: source and leaf prove each other. */
function volumeOf(context: Context, name: BackendName, leaf: Leaf, mountpoint: string): Volume | null {
  const backend = backendOf(name);
  for (const entry of context.machine.table.at(mountpoint)) {
    const exported = backend.candidateExports(entry).find((candidate) => leafOf(candidate) === leaf);
    if (exported !== undefined) {
      return { backend: name, export: exported, url: `${name}://${exported}` as VolumeUrl, leaf };
    }
  }
  return null;
}

/** Sends everything in parts that fit into frames. */
function emitAll(items: readonly InventoryItem[], units: readonly Leaf[], emit: (part: InventoryPart) => void): void {
  let part: { items: InventoryPart['items']; units: InventoryPart['units'] } = { items: [], units: [] };
  let bytes = 0;
  const add = (size: number): void => {
    bytes += size;
    if (bytes < INVENTORY_PART_BYTES) return;
    emit(part);
    part = { items: [], units: [] };
    bytes = 0;
  };
  for (const item of items) {
    part.items.push({ ...item, mounts: [...item.mounts] });
    add(JSON.stringify(item).length);
  }
  for (const unit of units) {
    part.units.push(unit);
    add(unit.length);
  }
  if (bytes > 0) emit(part);
}

function late(): FairleadError {
  return new FairleadError('deadline-exceeded', 'The inventory was not complete in time. Try again.');
}

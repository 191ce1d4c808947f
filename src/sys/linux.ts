// This machine, put together for the broker.

import { readBootId } from './boot-id.js';
import { monotonicMs, systemClock } from './clock.js';
import { directories } from './directories.js';
import { KernelMountTable } from './mount-table.js';
import { KernelMounts } from './mounts.js';
import { DirectoryNotes } from './notes.js';
import type { Machine } from './ports.js';
import { ForkedProbeChildren } from './probe-children.js';
import { processLimit } from './process-limit.js';
import { KernelProcesses } from './processes.js';
import { KernelNamespaces } from './namespaces.js';
import { KernelSuperblocks } from './superblocks.js';
import { KernelUnits, type UnitsOptions } from './units.js';

/** The machine with the parts that say more than the ports do. */
export interface LinuxMachine extends Machine {
  readonly table: KernelMountTable;
  readonly units: KernelUnits;
}

/** What the machine needs to be told. */
export interface MachineOptions extends UnitsOptions {
  /** Where notes are kept: a directory that ends with the boot. */
  readonly notesDir: string;
}

/** The machine that this process runs on, in the mount namespace that it is in now. */
export function linuxMachine(options: MachineOptions): LinuxMachine {
  const table = new KernelMountTable();
  return {
    table,
    directories,
    mounts: new KernelMounts(table),
    units: new KernelUnits(options),
    probeChildren: new ForkedProbeChildren(),
    processLimit,
    processes: new KernelProcesses(),
    superblocks: new KernelSuperblocks(),
    namespaces: new KernelNamespaces(),
    notes: new DirectoryNotes(options.notesDir),
    clock: systemClock,
    uptime: monotonicMs,
    bootId: readBootId(),
  };
}

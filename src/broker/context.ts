// What the broker's handlers work with. Everything they do to the world goes through `machine`; nothing here opens a
// file, starts a process or reads a clock, so that a simulated machine can stand in for the real one.

import type { BrokerPoint, Reach } from '../core/journal.js';
import type { SettingsByBackend } from '../backends/backend.js';
import type { Machine } from '../sys/ports.js';
import { KeyLocks } from '../core/key-locks.js';
import { Bound } from './bound.js';
import { Clients } from './clients.js';
import { LeafWatch } from './leaf-watch.js';
import { HelperOutputs } from './helper-outputs.js';
import { Prober } from './prober.js';
import { UnitsSeen } from './units-seen.js';
import { UnusedLeaves } from './unused-leaves.js';

/** What the broker's own reading of the configuration says. */
export interface BrokerSettings {
  /** The only user, besides root, that may connect. */
  readonly agentUid: number;
  readonly backends: SettingsByBackend;
  /** Users, besides root, that may own a base or a directory above it. */
  readonly trustedBaseOwners: readonly number[];
}

/** Events for the log. Fields never hold an export, a URL or a helper's output; a mount is named by its leaf. */
export interface BrokerLog {
  info(event: string, fields: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields: Readonly<Record<string, unknown>>): void;
}

/** What the composition root gives. */
export interface BrokerPorts {
  readonly machine: Machine;
  readonly settings: BrokerSettings;
  readonly log: BrokerLog;
  /** Called at each point at which a crash is worth thinking about. */
  readonly reach: Reach<BrokerPoint>;
}

/** The broker's state. All of it but the clients and the bound directories is in memory alone, and may be lost at any instruction. */
export interface Context extends BrokerPorts {
  readonly prober: Prober;
  readonly locks: KeyLocks;
  /** Mount helpers at work now. */
  readonly helpers: { count: number };
  /** Unmount helpers at work now. */
  readonly unmountHelpers: { count: number };
  readonly unusedLeaves: UnusedLeaves;
  readonly helperOutputs: HelperOutputs;
  readonly clients: Clients;
  readonly bound: Bound;
  /** Whether the units that an earlier process left are among the clients. */
  readonly unitsKnown: { done: boolean };
  readonly unitsSeen: UnitsSeen;
  readonly leafWatch: LeafWatch;
  /** Questions for changes that wait now. */
  readonly watchers: { count: number };
}

/** A broker that has done nothing yet. */
export function createContext(ports: BrokerPorts): Context {
  return {
    ...ports,
    prober: new Prober(ports.machine),
    locks: new KeyLocks(ports.machine.clock),
    helpers: { count: 0 },
    unmountHelpers: { count: 0 },
    unusedLeaves: new UnusedLeaves(ports.machine.clock),
    helperOutputs: new HelperOutputs(),
    clients: new Clients(ports.machine.notes, ports.machine.bootId),
    bound: new Bound(ports.machine.notes, ports.machine.bootId),
    unitsKnown: { done: false },
    unitsSeen: new UnitsSeen(),
    leafWatch: new LeafWatch(),
    watchers: { count: 0 },
  };
}

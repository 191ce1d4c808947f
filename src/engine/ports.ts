// What the engine needs from outside, and nothing else: it sees the world only through these, so that a simulation can
// stand in for all of it.

import type { Broker } from '../core/broker-api.js';
import type { Clock } from '../core/clock.js';
import type { AgentPoint, Reach } from '../core/journal.js';
import type { Holder } from '../core/observation.js';
import type { Ledger } from '../core/records.js';
import type { Volume } from '../core/volume.js';

/** Unguessable names. */
export interface Random {
  /** A fresh identifier: 32 lower-case hex digits. */
  id(): string;
}

/** Events for the log. Fields never hold an export or a volume's name; a mount is named by its leaf. */
export interface EventLog {
  info(event: string, fields: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields: Readonly<Record<string, unknown>>): void;
}

/** What follows from what is known of libvirt's domains. */
export interface EvidencePolicy {
  readonly liftHolds: 'evidence' | 'operator';
  readonly orphans: 'report' | 'release';
  /** Milliseconds for which evidence must have been the same. */
  readonly ageMs: number;
  /**
   * Whether this host has a libvirt, by the configuration or by what lies there now: one that cannot be read may have
   * domains.
   */
  isExpected(): boolean;
}

/** What the configuration says that the engine must know. */
export interface EngineSettings {
  /** Throws `permission-denied` for a volume that this host does not allow. */
  authorise(volume: Volume): void;
  mountpointOf(volume: Volume): string;
  /** The volume of a URL from an inventory. */
  parseVolume(url: string): Volume;
  readonly onVanish: 'report' | 'remount';
  /** Milliseconds between two looks at each mount in use. */
  readonly healthIntervalMs: number;
  /** The kernel boot that is running. */
  readonly bootId: string;
  /** Null: domains are not read. */
  readonly evidence: EvidencePolicy | null;
}

/** What the agent may know of the host's processes. */
export interface Processes {
  /** Whether the process still runs; true as well where that cannot be told. */
  runs(holder: Holder): boolean;
}

/** The engine's whole surroundings. */
export interface EnginePorts {
  readonly broker: Broker;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly processes: Processes;
  readonly log: EventLog;
  readonly settings: EngineSettings;
  readonly reach: Reach<AgentPoint>;
}

// What the agent may ask of the broker: the verbs, their requests and their answers. The broker owns the table that
// carries them out (broker/dispatch.ts) and re-checks each on its own side; the engine sees only this interface.

import type { DiskName } from './names.js';
import type { Holding, InventoryItem, Observation } from './observation.js';
import type { StepEnd, StepKind } from './steps.js';
import type { Access, Judgement } from './verdict.js';
import type { LeafName, Volume } from './volume.js';

/** What is wrong on the host, found by the broker's own looking around. */
export interface Finding {
  readonly subject: string;
  readonly severity: 'error' | 'warning';
  readonly message: string;
  /** A command, or a sentence, that mends it. */
  readonly mend: string;
}

/** A disk inside a mounted volume. */
export interface DiskFacts {
  readonly state: 'absent' | 'regular' | 'link' | 'other';
}

/** What is to be observed of a leaf. */
export interface ObserveOptions {
  readonly probe: Access | null;
  /** A disk that the probe looks for; null or left out: none. Nothing without a probe. */
  readonly disk?: DiskName | null;
  readonly budgetMs: number;
}

/**
 * The broker, from the agent's side. Every call ends within `budgetMs` plus a short grace. Failures are FairleadErrors:
 * `unavailable` when there is no broker, `permission-denied` when its policy refuses.
 */
export interface Broker {
  /**
   * The facts of one leaf. With `probe`, a probe begun after this call also gives its judgement, and looks for `disk`.
   */
  observe(volume: Volume, options: ObserveOptions): Promise<Observation>;
  /** One effect. A lost reply or a dead broker ends it as `unknown`, never as an exception. */
  step(volume: Volume, kind: StepKind, budgetMs: number): Promise<StepEnd>;
  /**
   * Works off whatever helper may still act on the leaf: `settled` when no helper is at work there any more (killed and
   * waited for, unless the right mount is already there), else `acting`.
   */
  settle(volume: Volume, budgetMs: number): Promise<'settled' | 'acting'>;
  disk(volume: Volume, name: DiskName, budgetMs: number): Promise<DiskFacts>;
  /** Who keeps what is mounted of the volume at its leaf busy; nobody where nothing of it is mounted there. */
  holders(volume: Volume, budgetMs: number): Promise<Holding>;
  /**
   * Cuts the FUSE connection of a mount that a fresh probe finds hung, and answers with what is said of it then: it is dead. Rejects with
   * `conflict` when it does not hang.
   */
  abort(volume: Volume, budgetMs: number): Promise<Judgement>;
  /** Every mount, leaf directory and client under the configured bases, or at these leaves only. */
  inventory(leaves: readonly LeafName[] | 'all', budgetMs: number): Promise<Inventory>;
  /** The leaves at which the mount table has changed since `seen`; waits until there are any, or the time is up. */
  watch(seen: number | null, budgetMs: number): Promise<LeafChanges>;
  examine(budgetMs: number): Promise<readonly Finding[]>;
  /** Calls the listener each time a connection to a broker has been made (again), until the returned function is called. */
  onConnect(listener: () => void): () => void;
  /** Whether a broker is connected now. */
  readonly connected: boolean;
}

/** Where the mount table has changed. `all`: everywhere, as far as is known. */
export interface LeafChanges {
  /** To be given with the next question. */
  readonly version: number;
  readonly leaves: readonly LeafName[] | 'all';
}

/** The world as it is found at start. */
export interface Inventory {
  readonly bootId: string;
  readonly items: readonly InventoryItem[];
}

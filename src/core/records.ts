// What the ledger remembers. Pure shapes: the SQL is in ledger/, the meaning in plan.ts, recover.ts and the engine.

import type { Brand } from './brand.js';
import type { FairleadError } from './errors.js';
import type { Consumer, DiskName } from './names.js';
import type { Step } from './steps.js';
import type { Leaf, Volume } from './volume.js';

/** Identifies an operation in the journal; unique within a ledger. */
export type OperationId = Brand<string, 'OperationId'>;

/**
 * A mount we answer for. `mounting`: its operation is open. `mounted`: in use or held. `releasing`: its last attachment
 * has ended and its unmount has not succeeded yet.
 */
export interface MountRecord {
  readonly volume: Volume;
  readonly state: 'mounting' | 'mounted' | 'releasing';
  /** Kernel boot during which it was last seen mounted (`/proc/sys/kernel/random/boot_id`). */
  readonly bootId: string;
}

/** The fact that somebody uses a volume. The key is (consumer, leaf, disk, target); `readOnly` is an argument. */
export interface AttachmentRecord {
  readonly id: string;
  readonly consumer: Consumer;
  readonly leaf: Leaf;
  /** Null: the volume itself. */
  readonly disk: DiskName | null;
  /** Where the consumer sees it, for doors that publish; null for the others. */
  readonly target: string | null;
  readonly readOnly: boolean;
  /** ISO 8601, for people. */
  readonly since: string;
}

/** Keeps a mount that was found without a record. */
export interface HoldRecord {
  readonly leaf: Leaf;
  readonly reason: 'inherited';
  readonly since: string;
}

/**
 * An operation in progress. It is written before its first effect and removed with its last; one that is found at
 * start was cut off by a crash.
 */
export interface OperationRecord {
  readonly id: OperationId;
  readonly kind: 'connect' | 'release' | 'recover';
  readonly volume: Volume;
  readonly steps: readonly Step[];
  /** How many steps are known to be over. The step at this index may or may not have happened. */
  readonly cursor: number;
  /** True once a `mount` step has been begun: whatever recognised mount is found then is our making. */
  readonly mountBegun: boolean;
  readonly since: string;
}

/** A record that could not be read back: set aside, reported, never in the way of the start. */
export interface SetAsideRecord {
  readonly table: string;
  readonly key: string;
  readonly reason: string;
}

/** Everything the ledger knows, read at start. */
export interface LedgerSnapshot {
  /**
   * `created`: there was no ledger. `damaged`: it could not be trusted, was kept aside under another name, and a new one
   * begun: with its records and a hold for each mount if it was whole and perhaps not the last, else with nothing.
   */
  readonly origin: 'existing' | 'created' | 'damaged';
  readonly mounts: readonly MountRecord[];
  readonly attachments: readonly AttachmentRecord[];
  readonly holds: readonly HoldRecord[];
  readonly operations: readonly OperationRecord[];
  readonly setAside: readonly SetAsideRecord[];
}

/** One change of the ledger. A commit takes a list of them: all or none. */
export type Change =
  | { readonly kind: 'put-mount'; readonly mount: MountRecord }
  | { readonly kind: 'forget-mount'; readonly leaf: Leaf }
  | { readonly kind: 'put-attachment'; readonly attachment: AttachmentRecord }
  | { readonly kind: 'end-attachment'; readonly id: string }
  | { readonly kind: 'put-hold'; readonly hold: HoldRecord }
  | { readonly kind: 'lift-hold'; readonly leaf: Leaf }
  | { readonly kind: 'put-operation'; readonly operation: OperationRecord }
  | { readonly kind: 'close-operation'; readonly id: OperationId }
  /** What was set aside is settled: nothing has to be done about it any more. */
  | { readonly kind: 'settle-doubt' };

/** The crash-safe record, as the engine sees it. */
export interface Ledger {
  load(): Promise<LedgerSnapshot>;
  /** Why nothing can be written now, as far as is known: the disk of state_dir stands still, fails or is read-only. Null: it can. */
  readonly fault: FairleadError | null;
  /**
   * Makes the changes durable, all or none. Resolves when they would survive a power cut.
   * Rejects with `resource-exhausted` when the state disk is full (nothing was written) and with `unavailable` when
   * the ledger is closed or broken.
   */
  commit(changes: readonly Change[]): Promise<void>;
  close(): Promise<void>;
}

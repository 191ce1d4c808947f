// What a door may ask of the engine, and what it is told. Doors translate to and from these; they decide nothing.

import type { Consumer, DiskName } from './names.js';
import type { Finding } from './broker-api.js';
import type { Survey } from './domains.js';
import type { Holder } from './observation.js';
import type { SetAsideRecord } from './records.js';
import type { Step } from './steps.js';
import type { Verdict } from './verdict.js';
import type { Leaf, Volume } from './volume.js';

/** Comes with every request. */
export interface RequestContext {
  /** Milliseconds from now within which the request must be answered. */
  readonly deadlineMs: number;
  /** Aborts when the client has gone away. */
  readonly signal: AbortSignal;
}

/** Makes an attachment exist. The same key with another `readOnly` is a `conflict`. */
export interface ConnectRequest {
  readonly volume: Volume;
  readonly disk: DiskName | null;
  readonly consumer: Consumer;
  readonly readOnly: boolean;
}

/** The attachment exists: its volume is mounted, proven and usable. */
export interface ConnectReply {
  /** The attachment's id. */
  readonly attachment: string;
  readonly leaf: Leaf;
  readonly mountpoint: string;
  /** The disk, or the mountpoint when no disk was named. */
  readonly path: string;
  readonly verdict: Verdict;
  /** Was anything done? False when the attachment was there and its volume healthy. */
  readonly changed: boolean;
  /** Did this request make the attachment? False when it was there already; then whoever undoes the request leaves it. */
  readonly isNew: boolean;
  /** For a disk: whether the file exists already. */
  readonly disk?: 'present' | 'absent';
  /** Things the caller should know: for instance that read-only is advisory here. */
  readonly notes: readonly string[];
}

/** What a connect would do (`--dry-run`). */
export interface ConnectPlan {
  readonly leaf: Leaf;
  readonly mountpoint: string;
  readonly verdict: Verdict;
  readonly steps: readonly Step[];
}

/** Makes an attachment cease; the mount goes with its last. */
export interface DisconnectRequest {
  readonly volume: Volume;
  readonly disk: DiskName | null;
  readonly consumer: Consumer;
}

/**
 * What is true of the mount after a disconnect. `released`: the kernel does not have it any more. `releasing`: it is not at
 * its leaf any more, and somebody still uses it where it was copied or moved to, or by open files; or it cannot be reached,
 * because its base is covered or has another name.
 */
export type Outcome = 'released' | 'releasing' | 'still-used' | 'busy' | 'hung' | 'not-connected';

/** The attachment has ceased, and this is true of its mount. */
export interface DisconnectReply {
  readonly outcome: Outcome;
  /** Is the volume still mounted at its leaf? */
  readonly mounted: boolean;
  /** For `released`: the client has not ended yet. It does so by itself, when it has written back what it has. */
  readonly ending: boolean;
  readonly leaf: Leaf;
  /** Consumers, and `hold:inherited` for a hold. */
  readonly usedBy: readonly string[];
  /** For `busy` and `releasing`: who keeps it, as far as that can be found out. */
  readonly holders: readonly Holder[];
  /** For `not-connected`: what the attachments that this user has here name instead; null: no disk. */
  readonly disks?: readonly (DiskName | null)[];
}

/** The verdict on a volume now, and why. */
export interface ValidateReply {
  readonly verdict: Verdict;
  readonly reason: string;
  readonly leaf: Leaf;
  readonly mountpoint: string;
}

/**
 * `mounting`, `mounted`, `releasing` as recorded; `ending`: it is released, and its client has not ended yet; `stuck`: an
 * operation is not over; `foreign`, `vanished`: seen.
 */
export type MountState = 'mounting' | 'mounted' | 'releasing' | 'ending' | 'stuck' | 'foreign' | 'vanished';

/**
 * A client whose mount is not at the leaf any more. `releasing`: somebody may still use what it serves. `ending`: nobody
 * does, and it has not ended yet.
 */
export interface ListedClient {
  readonly state: 'releasing' | 'ending';
}

/**
 * Why an attachment of a virtual machine counts as an orphan. `no-domain`: there is no such domain. `unused`: the
 * domain names no file at all on the leaf, and everything that it names is known. Said only after complete evidence
 * has been the same for `libvirt.evidence_age`.
 */
export type Orphanhood = 'no-domain' | 'unused';

/**
 * What is known of libvirt's domains. `off`: they are not read. `unknown`: they could not be read, or not yet. `incomplete`: some of them
 * could not be read.
 */
export type DomainKnowledge = 'off' | 'unknown' | 'incomplete' | 'complete';

/** One mount as `ls` shows it: what is recorded of it, and what was last seen. */
export interface ListedMount {
  readonly leaf: Leaf;
  /** Null when a foreign mount cannot be named. */
  readonly url: string | null;
  readonly backend: string;
  readonly mountpoint: string;
  readonly state: MountState;
  /** The last verdict, or null before the first. */
  readonly verdict: Verdict | null;
  /** Seconds since that verdict, or null. */
  readonly verdictAge: number | null;
  readonly attachments: readonly {
    readonly id: string;
    readonly consumer: Consumer;
    readonly disk: DiskName | null;
    readonly readOnly: boolean;
    readonly since: string;
    readonly orphan: Orphanhood | null;
  }[];
  readonly hold: 'inherited' | null;
  /** Clients of earlier mounts of this volume. */
  readonly former: readonly ListedClient[];
  /** For `releasing`: who kept it when that was last looked for, as far as it was found out. */
  readonly keptBy: readonly Holder[];
  /** Processes that still hold a dead mount which has been replaced. */
  readonly needsRestart: readonly Holder[];
  /** The open operation, if one is in progress. */
  readonly operation: { readonly kind: string; readonly step: string | null; readonly stuck: boolean } | null;
}

/** Everything that is recorded or seen, and whether the agent can work. */
export interface ListReply {
  readonly mounts: readonly ListedMount[];
  /** What the ledger could not read back or trust at a start, until no hold is left. */
  readonly setAside: readonly SetAsideRecord[];
  /** Why nothing can be written to the ledger now, as far as is known; null: it can. */
  readonly fault: string | null;
  /** Whether a broker is connected now. */
  readonly broker: 'connected' | 'absent';
  /** `reconciling` until what was open at start has been worked off. */
  readonly state: 'reconciling' | 'ready';
  readonly domains: DomainKnowledge;
}

/** Lifts the hold of a mount that was found without a record. */
export interface LiftHoldRequest {
  readonly leaf: Leaf;
  /** Whoever uses the mount, the operator wants it lifted. */
  readonly force: boolean;
}

/** The mount that hung is dead now; it is replaced for its users, or taken away, in the background. */
export interface AbortReply {
  readonly leaf: Leaf;
  readonly verdict: Verdict;
  readonly reason: string;
  /** Who used it: each of them gets errors from what it has open there. */
  readonly usedBy: readonly string[];
}

/** The engine, as doors see it. Every failure is a FairleadError from the closed list. */
export interface Engine {
  connect(request: ConnectRequest, context: RequestContext): Promise<ConnectReply>;
  planConnect(request: ConnectRequest, context: RequestContext): Promise<ConnectPlan>;
  disconnect(request: DisconnectRequest, context: RequestContext): Promise<DisconnectReply>;
  validate(volume: Volume, context: RequestContext): Promise<ValidateReply>;
  list(): ListReply;
  /** `busy` where somebody uses the mount, or may use it, unless it is forced. */
  liftHold(request: LiftHoldRequest, context: RequestContext): Promise<{ readonly lifted: boolean }>;
  /** Aborts the connection of a mount that hangs now; `conflict` for one that does not. */
  abort(leaf: Leaf, context: RequestContext): Promise<AbortReply>;
  examine(context: RequestContext): Promise<readonly Finding[]>;
  /**
   * Hears what was just read of libvirt's domains; null when they could not be read. Evidence for holds and orphans, never an
   * attachment. Returns at once; what follows from it is done in the background.
   */
  takeEvidence(survey: Survey | null): void;
}

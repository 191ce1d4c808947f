// The ledger's contents in memory. Changes are applied here only after they are durable, so what this says is what a
// restart would find. Beside it, what was last seen of each leaf: forgotten with the process, and never decisive.

import { userOf, type Consumer, type DiskName } from '../core/names.js';
import type { FormerClient, Holder } from '../core/observation.js';
import type {
  AttachmentRecord,
  Change,
  HoldRecord,
  LedgerSnapshot,
  MountRecord,
  OperationRecord,
} from '../core/records.js';
import type { StepKind } from '../core/steps.js';
import type { Verdict } from '../core/verdict.js';
import type { Leaf } from '../core/volume.js';

/** What was last seen of a leaf. */
export interface Sight {
  verdict: Verdict | null;
  /** Clock time of that verdict, milliseconds. */
  verdictAt: number;
  /** Recorded as mounted, and not seen in the table. */
  vanished: boolean;
  /** Whether anything recognised was mounted at the leaf. */
  mounted: boolean;
  /** The mounts that were seen there, as JSON; empty before the first look. */
  mounts: string;
  former: readonly FormerClient[];
  /** Who kept the mount when it was last tried to be unmounted. */
  keptBy: readonly Holder[];
  /** Processes that still hold a dead mount which has been replaced. */
  needsRestart: readonly Holder[];
  /** The step that is being carried out. */
  step: StepKind | null;
  /** Since when the operation cannot go on, or null. */
  stuck: boolean;
}

/**
 * Something under our bases of which nothing is recorded. `foreign`: a mount that is not ours, or cannot be named.
 * `releasing`, `ending`: a client whose mount is gone.
 */
export interface Stranger {
  readonly leaf: Leaf;
  readonly backend: string;
  readonly mountpoint: string;
  readonly state: 'foreign' | 'releasing' | 'ending';
}

/** The state of the world as far as it is recorded. */
export class State {
  readonly mounts = new Map<Leaf, MountRecord>();
  readonly holds = new Map<Leaf, HoldRecord>();
  readonly operations = new Map<Leaf, OperationRecord>();
  readonly strangers = new Map<Leaf, Stranger>();
  /** What the ledger could not read back, or could not trust, and that is not settled yet. */
  setAside: LedgerSnapshot['setAside'] = [];
  /** Records may be missing: a hold may stand for somebody of whom nothing tells any more. */
  isDoubted = false;
  readonly #attachments = new Map<Leaf, Map<string, AttachmentRecord>>();
  readonly #leafOf = new Map<string, Leaf>();
  readonly #sights = new Map<Leaf, Sight>();

  /** Takes over what the ledger remembered. */
  restore(snapshot: LedgerSnapshot): void {
    this.setAside = snapshot.setAside;
    this.isDoubted = snapshot.origin === 'damaged' || snapshot.setAside.length > 0;
    this.apply([
      ...snapshot.mounts.map((mount): Change => ({ kind: 'put-mount', mount })),
      ...snapshot.attachments.map((attachment): Change => ({ kind: 'put-attachment', attachment })),
      ...snapshot.holds.map((hold): Change => ({ kind: 'put-hold', hold })),
      ...snapshot.operations.map((operation): Change => ({ kind: 'put-operation', operation })),
    ]);
  }

  /** Applies changes that are durable. */
  apply(changes: readonly Change[]): void {
    for (const change of changes) this.#applyOne(change);
  }

  #applyOne(change: Change): void {
    switch (change.kind) {
      case 'put-mount':
        this.mounts.set(change.mount.volume.leaf, change.mount);
        this.strangers.delete(change.mount.volume.leaf);
        return;
      case 'forget-mount':
        this.mounts.delete(change.leaf);
        this.#sights.delete(change.leaf);
        return;
      case 'put-attachment': {
        const { attachment } = change;
        const users = this.#attachments.get(attachment.leaf) ?? new Map<string, AttachmentRecord>();
        users.set(attachment.id, attachment);
        this.#attachments.set(attachment.leaf, users);
        this.#leafOf.set(attachment.id, attachment.leaf);
        return;
      }
      case 'end-attachment': {
        const leaf = this.#leafOf.get(change.id);
        if (leaf === undefined) return;
        this.#leafOf.delete(change.id);
        const users = this.#attachments.get(leaf);
        users?.delete(change.id);
        if (users?.size === 0) this.#attachments.delete(leaf);
        return;
      }
      case 'put-hold':
        this.holds.set(change.hold.leaf, change.hold);
        return;
      case 'lift-hold':
        this.holds.delete(change.leaf);
        return;
      case 'put-operation':
        this.operations.set(change.operation.volume.leaf, change.operation);
        return;
      case 'close-operation':
        this.operations.delete(change.id as string as Leaf);
        return;
      case 'settle-doubt':
        this.setAside = [];
        this.isDoubted = false;
        return;
    }
  }

  /** All attachments. */
  *attachments(): Iterable<AttachmentRecord> {
    for (const users of this.#attachments.values()) yield* users.values();
  }

  /** The attachments that keep this mount. */
  attachmentsOf(leaf: Leaf): readonly AttachmentRecord[] {
    return [...(this.#attachments.get(leaf)?.values() ?? [])];
  }

  /** Whether anything keeps this mount: an attachment or a hold. */
  isUsed(leaf: Leaf): boolean {
    return this.#attachments.has(leaf) || this.holds.has(leaf);
  }

  /** The attachment with this key. A Nova instance and its libvirt domain are one user. */
  findAttachment(leaf: Leaf, consumer: Consumer, disk: DiskName | null): AttachmentRecord | undefined {
    const user = userOf(consumer);
    return this.attachmentsOf(leaf).find(
      (attachment) => attachment.target === null && attachment.disk === disk && userOf(attachment.consumer) === user,
    );
  }

  /** What the attachments of this user name here: disks, and null for none. */
  disksOf(leaf: Leaf, consumer: Consumer): readonly (DiskName | null)[] {
    const user = userOf(consumer);
    const own = this.attachmentsOf(leaf).filter(({ target, consumer }) => target === null && userOf(consumer) === user);
    return [...new Set(own.map(({ disk }) => disk))].sort((one, other) => ((one ?? '') < (other ?? '') ? -1 : 1));
  }

  /** Who keeps this mount, for people and programs: consumers, each once, and `hold:inherited`. */
  usersOf(leaf: Leaf): readonly string[] {
    const users = new Map<string, string>();
    for (const { consumer } of this.attachmentsOf(leaf)) users.set(userOf(consumer), consumer);
    const hold = this.holds.get(leaf);
    return [...users.values(), ...(hold === undefined ? [] : [`hold:${hold.reason}`])];
  }

  /** Every leaf that anything is recorded of. */
  leaves(): ReadonlySet<Leaf> {
    return new Set([
      ...this.mounts.keys(),
      ...this.#attachments.keys(),
      ...this.holds.keys(),
      ...this.operations.keys(),
    ]);
  }

  /** What was last seen of this leaf; kept up to date by whoever looks. */
  sightOf(leaf: Leaf): Sight {
    let sight = this.#sights.get(leaf);
    if (sight === undefined) {
      sight = {
        verdict: null,
        verdictAt: 0,
        vanished: false,
        mounted: false,
        mounts: '',
        former: [],
        keptBy: [],
        needsRestart: [],
        step: null,
        stuck: false,
      };
      this.#sights.set(leaf, sight);
    }
    return sight;
  }
}

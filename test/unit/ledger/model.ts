// The ledger as four maps: what a list of commits must come to, whatever stores it.

import type {
  AttachmentRecord,
  Change,
  HoldRecord,
  LedgerSnapshot,
  MountRecord,
  OperationRecord,
} from '../../../src/core/records.js';

export class Model {
  #mounts = new Map<string, MountRecord>();
  #attachments = new Map<string, AttachmentRecord>();
  #holds = new Map<string, HoldRecord>();
  #operations = new Map<string, OperationRecord>();

  /** All or none; false if an attachment's key is taken by another id. */
  apply(changes: readonly Change[]): boolean {
    const before = [this.#mounts, this.#attachments, this.#holds, this.#operations] as const;
    [this.#mounts, this.#attachments] = [new Map(this.#mounts), new Map(this.#attachments)];
    [this.#holds, this.#operations] = [new Map(this.#holds), new Map(this.#operations)];
    if (changes.every((change) => this.#one(change))) return true;
    [this.#mounts, this.#attachments, this.#holds, this.#operations] = before;
    return false;
  }

  snapshot(): LedgerSnapshot {
    return {
      origin: 'existing',
      mounts: [...this.#mounts.values()],
      attachments: [...this.#attachments.values()],
      holds: [...this.#holds.values()],
      operations: [...this.#operations.values()],
      setAside: [],
    };
  }

  #one(change: Change): boolean {
    switch (change.kind) {
      case 'put-mount':
        this.#mounts.set(change.mount.volume.leaf, change.mount);
        return true;
      case 'forget-mount':
        this.#mounts.delete(change.leaf);
        return true;
      case 'put-attachment': {
        const key = keyOf(change.attachment);
        if ([...this.#attachments.values()].some((other) => keyOf(other) === key && other.id !== change.attachment.id))
          return false;
        this.#attachments.set(change.attachment.id, change.attachment);
        return true;
      }
      case 'end-attachment':
        this.#attachments.delete(change.id);
        return true;
      case 'put-hold':
        this.#holds.set(change.hold.leaf, change.hold);
        return true;
      case 'lift-hold':
        this.#holds.delete(change.leaf);
        return true;
      case 'put-operation':
        this.#operations.set(change.operation.id, change.operation);
        return true;
      case 'close-operation':
        this.#operations.delete(change.id);
        return true;
      case 'settle-doubt':
        return true;
    }
  }
}

function keyOf({ consumer, leaf, disk, target }: AttachmentRecord): string {
  return JSON.stringify([consumer, leaf, disk, target]);
}

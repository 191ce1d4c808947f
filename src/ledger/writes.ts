// Everything that changes the ledger: one prepared statement a kind of change. Runs inside a transaction that the store
// has begun; decides nothing about mounts.

import type { Change, HoldRecord } from '../core/records.js';
import type { BadRow } from './reads.js';
import { rowOfAttachment, rowOfHold, rowOfMount, rowOfOperation } from './rows.js';
import type { Database } from './sqlite.js';

/** `INSERT … ON CONFLICT (key) DO UPDATE`: a later record with the same key takes the place of the earlier. */
function putSql(table: string, columns: readonly string[], key: string): string {
  const update = columns.filter((column) => column !== key).map((column) => `${column} = excluded.${column}`);
  return `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map((column) => `:${column}`).join(', ')})
    ON CONFLICT (${key}) DO UPDATE SET ${update.join(', ')}`;
}

/** The statements that write, prepared once. */
export class Writes {
  readonly #putMount;
  readonly #forgetMount;
  readonly #putAttachment;
  readonly #endAttachment;
  readonly #putHold;
  readonly #liftHold;
  readonly #putOperation;
  readonly #closeOperation;
  readonly #settleDoubt;
  readonly #sequence;
  readonly #setAside;
  readonly #discard;

  constructor(database: Database) {
    const prepare = (sql: string) => database.prepare(sql);
    this.#putMount = prepare(putSql('mounts', ['leaf', 'backend', 'export', 'url', 'state', 'boot_id'], 'leaf'));
    this.#forgetMount = prepare('DELETE FROM mounts WHERE leaf = ?');
    this.#putAttachment = prepare(
      putSql('attachments', ['id', 'consumer', 'leaf', 'disk', 'target', 'read_only', 'since'], 'id'),
    );
    this.#endAttachment = prepare('DELETE FROM attachments WHERE id = ?');
    this.#putHold = prepare(putSql('holds', ['leaf', 'reason', 'since'], 'leaf'));
    this.#liftHold = prepare('DELETE FROM holds WHERE leaf = ?');
    this.#putOperation = prepare(
      putSql(
        'operations',
        ['id', 'kind', 'backend', 'export', 'url', 'leaf', 'steps', 'cursor', 'mount_begun', 'since'],
        'id',
      ),
    );
    this.#closeOperation = prepare('DELETE FROM operations WHERE id = ?');
    this.#settleDoubt = prepare('UPDATE set_aside SET settled = 1');
    this.#sequence = prepare('UPDATE ledger SET sequence = ?');
    this.#setAside = prepare(
      'INSERT INTO set_aside (origin, key, reason, content, since) VALUES (:origin, :key, :reason, :content, :since)',
    );
    this.#discard = {
      mounts: prepare('DELETE FROM mounts WHERE rowid = ?'),
      attachments: prepare('DELETE FROM attachments WHERE rowid = ?'),
      holds: prepare('DELETE FROM holds WHERE rowid = ?'),
      operations: prepare('DELETE FROM operations WHERE rowid = ?'),
    };
  }

  /** Writes one change. Ending what is not there changes nothing. */
  write(change: Change): void {
    switch (change.kind) {
      case 'put-mount':
        this.#putMount.run(rowOfMount(change.mount));
        return;
      case 'forget-mount':
        this.#forgetMount.run(change.leaf);
        return;
      case 'put-attachment':
        this.#putAttachment.run(rowOfAttachment(change.attachment));
        return;
      case 'end-attachment':
        this.#endAttachment.run(change.id);
        return;
      case 'put-hold':
        this.putHold(change.hold);
        return;
      case 'lift-hold':
        this.#liftHold.run(change.leaf);
        return;
      case 'put-operation':
        this.#putOperation.run(rowOfOperation(change.operation));
        return;
      case 'close-operation':
        this.#closeOperation.run(change.id);
        return;
      case 'settle-doubt':
        this.#settleDoubt.run();
        return;
    }
  }

  /** Also used where the ledger itself has to keep a mount: see `LedgerStore.load`. */
  putHold(hold: HoldRecord): void {
    this.#putHold.run(rowOfHold(hold));
  }

  /** Notes the number of this transaction. */
  advance(sequence: number): void {
    this.#sequence.run(sequence);
  }

  /** Moves a row that could not be read out of the way, whole. */
  moveAside(bad: BadRow, since: string): void {
    this.#setAside.run({ origin: bad.table, key: bad.key, reason: bad.reason, content: bad.content, since });
    this.#discard[bad.table].run(bad.rowid);
  }
}

// Everything that is read from the ledger. Rows become records, or bad rows with a reason; one bad row never keeps the
// others from being read.

import { FairleadError } from '../core/errors.js';
import { MAX_SET_ASIDE_REPORTED } from '../core/limits.js';
import type { LedgerSnapshot, SetAsideRecord } from '../core/records.js';
import { isLeaf, type Leaf } from '../core/volume.js';
import { attachmentOf, holdOf, mountOf, operationOf, type Row } from './rows.js';
import type { Database } from './sqlite.js';

/** The tables that hold records. */
export type RecordTable = 'mounts' | 'attachments' | 'holds' | 'operations';

/** A row that is not a record. */
export interface BadRow {
  readonly table: RecordTable;
  readonly rowid: bigint;
  /** Its key if that has the form of one, else its place; never a volume's name. */
  readonly key: string;
  /** Column and rule, never a value. */
  readonly reason: string;
  /** The leaf it was about, if that much can be read. */
  readonly leaf: Leaf | null;
  /** The whole row as JSON, for the operator. */
  readonly content: string;
}

/** What the tables say. */
export interface Contents extends Omit<LedgerSnapshot, 'origin'> {
  readonly bad: readonly BadRow[];
}

/** Keys that may be shown: leaves, and identifiers made of hex digits and dashes. */
const SHOWABLE_KEY = /^[0-9a-f-]{1,64}$/;

/** The statements that read, prepared once. */
export class Reads {
  readonly #tables;
  readonly #setAside;
  readonly #attachmentById;
  readonly #operationById;
  readonly #sequence;

  constructor(database: Database) {
    const whole = (sql: string) => {
      const statement = database.prepare(sql);
      // An integer beyond 2^53 would otherwise fail the whole query instead of its own row.
      statement.setReadBigInts(true);
      return statement;
    };
    this.#tables = {
      mounts: whole('SELECT rowid, * FROM mounts ORDER BY rowid'),
      attachments: whole('SELECT rowid, * FROM attachments ORDER BY rowid'),
      holds: whole('SELECT rowid, * FROM holds ORDER BY rowid'),
      operations: whole('SELECT rowid, * FROM operations ORDER BY rowid'),
    };
    this.#setAside = database.prepare(
      `SELECT origin, key, reason FROM set_aside WHERE settled = 0 ORDER BY rowid DESC LIMIT ${MAX_SET_ASIDE_REPORTED}`,
    );
    this.#attachmentById = database.prepare('SELECT 1 FROM attachments WHERE id = ?');
    this.#operationById = database.prepare('SELECT 1 FROM operations WHERE id = ?');
    this.#sequence = database.prepare('SELECT sequence FROM ledger');
  }

  /** Everything. What was set aside comes newest first. */
  contents(): Contents {
    const bad: BadRow[] = [];
    return {
      mounts: this.#records('mounts', mountOf, bad),
      attachments: this.#records('attachments', attachmentOf, bad),
      holds: this.#records('holds', holdOf, bad),
      operations: this.#records('operations', operationOf, bad),
      setAside: (this.#setAside.all() as readonly Row[]).map((row): SetAsideRecord => ({
        table: String(row['origin']),
        key: String(row['key']),
        reason: String(row['reason']),
      })),
      bad,
    };
  }

  /** The number of the last transaction. */
  sequence(): number {
    const row = this.#sequence.get() as { readonly sequence: number };
    return row.sequence;
  }

  /** Whether an attachment with this id is recorded. */
  hasAttachment(id: string): boolean {
    return this.#attachmentById.get(id) !== undefined;
  }

  /** Whether an operation with this id is recorded. */
  hasOperation(id: string): boolean {
    return this.#operationById.get(id) !== undefined;
  }

  #records<T>(table: RecordTable, parse: (row: Row) => T, bad: BadRow[]): readonly T[] {
    return (this.#tables[table].all() as readonly Row[]).flatMap((row): readonly T[] => {
      try {
        return [parse(row)];
      } catch (error) {
        if (!(error instanceof FairleadError)) throw error;
        bad.push(badRow(table, row, error.message));
        return [];
      }
    });
  }
}

function badRow(table: RecordTable, { rowid, ...content }: Row, reason: string): BadRow {
  const place = BigInt(rowid ?? 0);
  const key = content['id'] ?? content['leaf'];
  return {
    table,
    rowid: place,
    key: typeof key === 'string' && SHOWABLE_KEY.test(key) ? key : `row ${place}`,
    reason,
    leaf: isLeaf(content['leaf']) ? content['leaf'] : null,
    content: JSON.stringify(content, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  };
}

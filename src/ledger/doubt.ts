// Is a ledger that is whole also the last one? Decided from what it says of itself and from its marks (mark.ts); shared
// by the ledger on disk and the simulation. And what is done with one that may not be: nobody can tell any more which of
// its attachments have ended, and which it lacks. So its records stay, and every mount that they name gets a hold.

import type { SetAsideRecord } from '../core/records.js';
import type { MarkFacts } from './mark.js';
import { LEDGER_FORMAT } from './schema.js';
import { askDatabase, type Database } from './sqlite.js';

/** What a ledger says of itself. */
export interface LedgerFacts {
  /** Random, made with the ledger, and again whenever its records are taken over in doubt. */
  readonly identity: string;
  /** Its last transaction. */
  readonly sequence: number;
}

/** What is written into a ledger about the one before it, for `ls` and `doctor`. */
export interface Note extends Pick<SetAsideRecord, 'key' | 'reason'> {
  /** ISO 8601. */
  readonly since: string;
}

const IDENTITY = /^[0-9a-f]{32}$/;

/** What the sentinel says, or null if there is none, or more than one. */
export function factsOf(database: Database): LedgerFacts | null {
  const rows = askDatabase(database, 'SELECT answer(json_array(format, identity, sequence)) FROM ledger');
  if (rows.length !== 1) return null;
  const [format, identity, sequence] = JSON.parse(String(rows[0])) as readonly unknown[];
  if (format !== LEDGER_FORMAT || typeof identity !== 'string' || !IDENTITY.test(identity)) return null;
  return { identity, sequence: Number(sequence) };
}

/**
 * Why the ledger may not be the last one, or null. `witness` is that of this boot, or null if there is none yet. Marks
 * that are behind prove nothing: they are not flushed, and a kill may come between a commit and its mark.
 */
export function doubtOf(
  { identity, sequence }: LedgerFacts,
  mark: MarkFacts | null,
  witness: MarkFacts | null,
): string | null {
  for (const known of [mark, witness]) {
    if (known === null) continue;
    const other = known.identity !== null && known.identity !== identity;
    if (other && known.sequence > 0) return 'it is an older copy, or another ledger than the one that was last in use';
    if (!other && known.sequence > sequence) {
      return `its last commits are missing, as in an older copy (it has ${sequence} of ${known.sequence})`;
    }
  }
  const unknown = mark === null && witness === null && sequence > 0;
  return unknown ? 'its mark is missing, so nobody can tell whether it is an older copy' : null;
}

/** Makes a ledger of one that may not be the last, in one transaction: holds, a note, and an identity of its own. */
export function takeOver(database: Database, note: Note): void {
  database.function('note', (name: unknown) => note[name as keyof Note]);
  database.exec(`
    BEGIN IMMEDIATE;
    INSERT INTO holds (leaf, reason, since)
      SELECT leaf, 'inherited', note('since') FROM (
        SELECT leaf FROM mounts UNION SELECT leaf FROM attachments UNION SELECT leaf FROM operations
      ) WHERE leaf NOT IN (SELECT leaf FROM holds);
    INSERT INTO set_aside (origin, key, reason, content, since)
      VALUES ('ledger', note('key'), note('reason'), '{}', note('since'));
    UPDATE ledger SET identity = lower(hex(randomblob(16))), sequence = sequence + 1;
    COMMIT;
  `);
}

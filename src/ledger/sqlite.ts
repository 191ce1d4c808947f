// The SQLite library, as far as the ledger uses it: opening with the settings that make a commit survive a power cut,
// asking without leaving a statement behind, and naming error codes. Knows nothing of mounts.

import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { LEDGER_CHECKPOINT_PAGES } from '../core/limits.js';

/** An open database. */
export type Database = DatabaseSyncInstance;

/**
 * Opens the database file (or `:memory:`). WAL with synchronous=FULL: a commit is in the log and flushed before it
 * returns. Exclusive locking: neither a second agent nor a curious shell can come between, and there is no shared-memory
 * file. Opening reads nothing of what is stored: a damaged file shows at the first question.
 */
export function openDatabase(location: string): Database {
  const database = new DatabaseSync(location, { defensive: true, enableForeignKeyConstraints: false });
  try {
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA trusted_schema = OFF;
      PRAGMA temp_store = MEMORY;
      PRAGMA cell_size_check = ON;
      PRAGMA synchronous = FULL;
      PRAGMA journal_mode = WAL;
      PRAGMA wal_autocheckpoint = ${LEDGER_CHECKPOINT_PAGES};
    `);
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

/**
 * The values that a constant query hands to the SQL function `answer`. Unlike a prepared statement this leaves nothing
 * behind, so that the database can really be closed afterwards (the library never finalizes statements: a connection
 * with live ones stays open until they are collected, and its late end would remove a new file of the same name).
 */
export function askDatabase(database: Database, sql: string): readonly unknown[] {
  const answers: unknown[] = [];
  database.function('answer', (value: unknown) => {
    answers.push(value);
    return null;
  });
  database.exec(sql);
  return answers;
}

/** SQLite's primary result codes that mean something here (https://www.sqlite.org/rescode.html). */
const CODES = {
  1: 'error',
  5: 'locked',
  11: 'damaged',
  13: 'full',
  19: 'constraint',
  26: 'damaged',
} as const;

/** What kind of failure SQLite reported; `other` for the rest of its codes, null if `error` is not one of SQLite's. */
export function errorCodeOf(error: unknown): (typeof CODES)[keyof typeof CODES] | 'other' | null {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return null;
  const primary = error.errcode & 0xff;
  // SQLite calls only ENOSPC "full" and a used-up quota (EDQUOT, 122) an input/output error; to us they are the same.
  if (primary === 10 && 'systemErrno' in error && error.systemErrno === 122) return 'full';
  return primary in CODES ? CODES[primary as keyof typeof CODES] : 'other';
}

// The ledger's tables, and how an older ledger becomes today's. Only text of SQL is made here; nothing from outside ever
// becomes part of it.
//
//   ledger (one row)      the sentinel: an empty or half-made file has none
//     format              'fairlead-ledger'
//     sequence            one more with each transaction
//     identity            32 hex digits, random. Both are compared with the marks (mark.ts) to notice lost commits
//   mounts                leaf UNIQUE, backend, export, url, state, boot_id
//   attachments           id UNIQUE, consumer, leaf, disk?, target?, read_only, since
//                         UNIQUE (consumer, leaf, disk or '', target or ''): NULLs count as equal here
//   holds                 leaf UNIQUE, reason, since
//   operations            id UNIQUE, kind, backend, export, url, leaf, steps (JSON), cursor, mount_begun, since
//   set_aside             origin, key, reason, content (JSON of the row), since, settled: rows that could not be read back,
//                         and ledgers that could not be trusted; settled when nothing has to be done about them any more
//
// There are no foreign keys and no CHECKs: one row that makes no sense must be set aside, not make the file look damaged.
// Rows have a rowid, so that one whose key is itself unreadable can still be moved.

import { FairleadError } from '../core/errors.js';
import { askDatabase, type Database } from './sqlite.js';

/** What the sentinel says. */
export const LEDGER_FORMAT = 'fairlead-ledger';

/** One step from the version before to `version`. Never changed once released; a later need is a later migration. */
export interface Migration {
  /** `PRAGMA user_version` afterwards. */
  readonly version: number;
  readonly sql: string;
}

/** All of them, in order, from an empty file. */
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    sql: `
      CREATE TABLE ledger (format TEXT NOT NULL, sequence INTEGER NOT NULL) STRICT;
      INSERT INTO ledger (format, sequence) VALUES ('${LEDGER_FORMAT}', 0);

      CREATE TABLE mounts (
        leaf TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, export TEXT NOT NULL, url TEXT NOT NULL,
        state TEXT NOT NULL, boot_id TEXT NOT NULL
      ) STRICT;

      CREATE TABLE attachments (
        id TEXT NOT NULL UNIQUE, consumer TEXT NOT NULL, leaf TEXT NOT NULL, disk TEXT, target TEXT,
        read_only INTEGER NOT NULL, since TEXT NOT NULL
      ) STRICT;
      CREATE UNIQUE INDEX attachment_key ON attachments (consumer, leaf, ifnull(disk, ''), ifnull(target, ''));

      CREATE TABLE holds (leaf TEXT NOT NULL UNIQUE, reason TEXT NOT NULL, since TEXT NOT NULL) STRICT;

      CREATE TABLE operations (
        id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, backend TEXT NOT NULL, export TEXT NOT NULL, url TEXT NOT NULL,
        leaf TEXT NOT NULL, steps TEXT NOT NULL, cursor INTEGER NOT NULL, mount_begun INTEGER NOT NULL,
        since TEXT NOT NULL
      ) STRICT;

      CREATE TABLE set_aside (
        origin TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, content TEXT NOT NULL, since TEXT NOT NULL
      ) STRICT;
    `,
  },
  {
    version: 2,
    sql: `
      ALTER TABLE ledger ADD COLUMN identity TEXT NOT NULL DEFAULT '';
      UPDATE ledger SET identity = lower(hex(randomblob(16)));
    `,
  },
  { version: 3, sql: 'ALTER TABLE set_aside ADD COLUMN settled INTEGER NOT NULL DEFAULT 0' },
];

/** The version that this program reads and writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Finds every table and column that this version uses; fails (SQLITE_ERROR) where one is missing. Run after migrating. */
export const SHAPE_PROBE = `
  SELECT format, sequence, identity FROM ledger LIMIT 0;
  SELECT leaf, backend, export, url, state, boot_id FROM mounts LIMIT 0;
  SELECT id, consumer, leaf, disk, target, read_only, since FROM attachments INDEXED BY attachment_key
    WHERE consumer = '' AND leaf = '' LIMIT 0;
  SELECT leaf, reason, since FROM holds LIMIT 0;
  SELECT id, kind, backend, export, url, leaf, steps, cursor, mount_begun, since FROM operations LIMIT 0;
  SELECT origin, key, reason, content, since, settled FROM set_aside LIMIT 0;
`;

/**
 * Brings an open database to the last of `migrations`, each in a transaction of its own. The database must not be newer
 * (see {@link refuseNewer}). A migration that fails leaves the version before it.
 */
export function migrate(database: Database, migrations: readonly Migration[] = MIGRATIONS): void {
  const [found] = askDatabase(database, 'SELECT answer(user_version) FROM pragma_user_version');
  const pending = migrations.filter(({ version }) => version > Number(found));
  for (const { version, sql } of pending) {
    database.exec('BEGIN IMMEDIATE');
    try {
      database.exec(`${sql}; PRAGMA user_version = ${version}`);
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }
  // The version is read from the file's header before SQLite opens it, so it must not stay in the write-ahead log.
  if (pending.length > 0) database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
}

/** Refuses (`config-invalid`) a ledger whose version is beyond ours. `writtenBy`: the program's version, if it is known. */
export function refuseNewer(version: number, directory: string, writtenBy: string | null): void {
  if (version <= SCHEMA_VERSION) return;
  const writer = writtenBy === null ? 'a newer Fairlead' : `Fairlead ${writtenBy}`;
  throw new FairleadError(
    'config-invalid',
    `The ledger in ${directory} was written by ${writer} (ledger version ${version}); this program knows versions up to ` +
      `${SCHEMA_VERSION}. Nothing was changed. Start ${writer} again, or move ${directory}/ledger.* elsewhere: then ` +
      'every mount that is found is kept with a hold.',
    { field: 'state_dir' },
  );
}

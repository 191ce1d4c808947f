// Opening a ledger on disk: whose files they are, which version wrote them, whether they can be trusted. What cannot be
// trusted is kept under another name and a new ledger begun, which leads to holds; nothing is ever deleted.

import * as fs from 'node:fs';
import { FairleadError } from '../core/errors.js';
import { checkFiles, filesIn, moveAside, syncDirectory, type LedgerFiles } from './files.js';
import { Mark, readMark, type MarkFacts } from './mark.js';
import { Reserve } from './reserve.js';
import { LEDGER_FORMAT, migrate, refuseNewer, SHAPE_PROBE } from './schema.js';
import { askDatabase, errorCodeOf, openDatabase, type Database } from './sqlite.js';
import { LedgerStore, type StoreParts } from './store.js';

/** Where the ledger is, and what is written into it about us. */
export interface OpenOptions {
  /** `state_dir`: absolute, exists, ours. */
  readonly directory: string;
  /** Version of this program, for the mark. */
  readonly version: string;
  /** ISO 8601 now. */
  readonly date: () => string;
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
/** The database file format (https://www.sqlite.org/fileformat2.html): magic at 0, user version at 60, big-endian. */
const HEADER_BYTES = 100;
const MAGIC = 'SQLite format 3\0';
const USER_VERSION_AT = 60;

/**
 * Opens the ledger, or begins one. Refuses with `config-invalid` where the files are not safely ours or a newer version
 * wrote them (touching nothing), with `resource-exhausted` on a full disk, with `unavailable` where another process has
 * the ledger open or the disk fails.
 */
export function openStore(options: OpenOptions): LedgerStore {
  const files = filesIn(options.directory);
  checkFiles(files);
  try {
    return openChecked(files, options);
  } catch (error) {
    throw explain(error, options.directory);
  }
}

function openChecked(files: LedgerFiles, { version, date }: OpenOptions): LedgerStore {
  const mark = readMark(files.mark);
  const exists = fs.existsSync(files.database);
  const old = exists ? openOld(files, mark) : { database: null, doubt: 'the file is gone' };
  const { database, origin, lost } =
    old.doubt === null
      ? { database: old.database, origin: 'existing' as const, lost: null }
      : beginAnew(files, exists || mark !== null ? old : null, date());
  const [sequence] = askDatabase(database, 'SELECT answer(sequence) FROM ledger');
  return new LedgerStore({
    database,
    origin,
    lost,
    mark: new Mark(files.mark, version, Number(sequence)),
    reserve: new Reserve(files.reserve),
    date,
  });
}

/** `user_version`, read without SQLite, so that a newer ledger is not touched; 0 for what is not a ledger. */
function versionInHeader(path: string): number {
  const descriptor = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    const length = fs.readSync(descriptor, header, 0, HEADER_BYTES, 0);
    if (length < HEADER_BYTES || header.toString('latin1', 0, MAGIC.length) !== MAGIC) return 0;
    return header.readUInt32BE(USER_VERSION_AT);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** A ledger that was found: checked and migrated, or with the reason why it cannot be trusted. */
type Old =
  | { readonly database: Database; readonly doubt: null }
  /** The connection, if there is one, is still open. */
  | { readonly database: Database | null; readonly doubt: string };

function openOld(files: LedgerFiles, mark: MarkFacts | null): Old {
  const version = versionInHeader(files.database);
  refuseNewer(version, files.directory, mark?.writtenBy ?? null);
  if (version === 0) return { database: null, doubt: 'the file is empty, or no ledger' };
  let database: Database | null = null;
  try {
    database = openDatabase(files.database);
    return { database, doubt: doubtOf(database, files.directory, mark) };
  } catch (error) {
    const code = errorCodeOf(error);
    if (code === 'damaged') return { database, doubt: 'SQLite finds the file damaged' };
    if (code === 'error') return { database, doubt: 'a table or column is missing' };
    database?.close();
    throw error;
  }
}

function doubtOf(database: Database, directory: string, mark: MarkFacts | null): string | null {
  // Asked again: the header may be behind the write-ahead log.
  const [version] = askDatabase(database, 'SELECT answer(user_version) FROM pragma_user_version');
  refuseNewer(Number(version), directory, mark?.writtenBy ?? null);
  const findings = askDatabase(database, 'SELECT answer(integrity_check) FROM pragma_integrity_check');
  if (findings.length !== 1 || findings[0] !== 'ok') return 'the integrity check failed';
  migrate(database);
  database.exec(SHAPE_PROBE);
  const formats = askDatabase(database, 'SELECT answer(format) FROM ledger');
  if (formats.length !== 1 || formats[0] !== LEDGER_FORMAT) return 'the sentinel is missing';
  const [sequence] = askDatabase(database, 'SELECT answer(sequence) FROM ledger');
  return Number(sequence) < (mark?.sequence ?? 0) ? 'its last commits are missing' : null;
}

/** A new ledger, beside the old one if there was one. */
function beginAnew(
  files: LedgerFiles,
  old: Old | null,
  date: string,
): Pick<StoreParts, 'database' | 'origin' | 'lost'> {
  makeDraft(files);
  let lost = null;
  if (old !== null) {
    lost = { key: moveAside(files, date), reason: `${old.doubt ?? ''}; every mount is kept with a hold` };
    // Only now: closing folds the log into the database and removes it by its name, which must not be the old place.
    old.database?.close();
  }
  fs.renameSync(files.draft, files.database);
  syncDirectory(files.directory);
  return { database: openDatabase(files.database), origin: lost === null ? 'created' : 'damaged', lost };
}

/** Makes an empty ledger under another name, complete and on disk, so that there is never a half-made `ledger.db`. */
function makeDraft({ draft }: LedgerFiles): void {
  for (const path of [draft, `${draft}-wal`, `${draft}-journal`]) fs.rmSync(path, { force: true });
  fs.closeSync(fs.openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  const database = openDatabase(draft);
  try {
    migrate(database);
  } finally {
    // Nothing was prepared, so this closes for good: the log is folded in and removed.
    database.close();
  }
}

function explain(error: unknown, directory: string): unknown {
  const details = { field: 'state_dir', cause: error };
  switch (errorCodeOf(error)) {
    case null:
      return error;
    case 'full':
      return new FairleadError('resource-exhausted', `The disk of ${directory} is full: make room there.`, details);
    case 'locked':
      return new FairleadError(
        'unavailable',
        `The ledger in ${directory} is open in another process: end that one (fuser ${directory}/ledger.db names it).`,
        details,
      );
    case 'error':
    case 'damaged':
    case 'constraint':
    case 'other':
      return new FairleadError(
        'unavailable',
        `The ledger in ${directory} cannot be opened: look at its disk (the kernel log tells), then start again.`,
        details,
      );
  }
}

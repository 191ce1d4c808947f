// Opening a ledger on disk: whose files they are, which version wrote them, whether they can be trusted. What cannot be
// trusted is kept under another name and a new ledger begun, which leads to holds; nothing is ever deleted. The new one
// has the records of the old one if that is whole, and only may not be the last one (doubt.ts).

import * as fs from 'node:fs';
import { FairleadError } from '../core/errors.js';
import { doubtOf, factsOf, takeOver } from './doubt.js';
import {
  checkFiles,
  filesIn,
  isAnythingLeft,
  makeAside,
  moveAside,
  syncDirectory,
  type LedgerFiles,
  type Setting,
} from './files.js';
import { Home } from './home.js';
import { Mark, readMark, type MarkFacts } from './mark.js';
import { Reserve } from './reserve.js';
import { migrate, refuseNewer, SHAPE_PROBE } from './schema.js';
import { askDatabase, errorCodeOf, openDatabase, type Database } from './sqlite.js';
import { LedgerStore } from './store.js';

/** What an operator should know of the ledger's files, though nothing waits for it. */
export type LedgerWarning = 'ledger-mark-missing' | 'ledger-mark-not-written' | 'ledger-witness-not-written';

/** Where the ledger is, and what is written into it about us. */
export interface OpenOptions {
  /** `state_dir`: absolute, exists, ours. */
  readonly directory: string;
  /** The mark that lasts for a boot: a file in `run_dir`, and which boot this is. */
  readonly witness: { readonly path: string; readonly bootId: string };
  /** Version of this program, for the marks. */
  readonly version: string;
  /** ISO 8601 now. */
  readonly date: () => string;
  /** Told what an operator should know and nothing waits for. */
  readonly warn: (event: LedgerWarning, cause: Error | null) => void;
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
  const files = filesIn(options.directory, options.witness.path);
  checkFiles(files);
  try {
    return openChecked(files, options);
  } catch (error) {
    throw explain(error, options.directory);
  }
}

function openChecked(files: LedgerFiles, { version, witness: { bootId }, date, warn }: OpenOptions): LedgerStore {
  const marks = readMarks(files, bootId);
  const old = fs.existsSync(files.database) ? openOld(files, marks) : missing(files, marks);
  const database = old?.kind === 'sound' ? old.database : beginAnew(files, old, date());
  const facts = factsOf(database);
  if (facts === null) throw new FairleadError('internal', 'A ledger that was just opened has no sentinel.');
  if (old?.kind === 'sound' && marks.mark === null && facts.sequence > 0) warn('ledger-mark-missing', null);
  const keep = (path: string, setting: Setting, failure: LedgerWarning): Mark =>
    new Mark(path, setting, { ...facts, bootId, writtenBy: version }, (error) => {
      warn(failure, error);
    });
  const mark = keep(files.mark, 'state_dir', 'ledger-mark-not-written');
  syncDirectory(files.directory);
  return new LedgerStore({
    database,
    origin: old === null ? 'created' : old.kind === 'sound' ? 'existing' : 'damaged',
    marks: [mark, keep(files.witness, 'run_dir', 'ledger-witness-not-written')],
    home: new Home(files),
    reserve: new Reserve(files.reserve),
    date,
  });
}

/** What the marks say; `witness` only if it is of this boot. */
interface Marks {
  readonly mark: MarkFacts | null;
  readonly witness: MarkFacts | null;
}

function readMarks(files: LedgerFiles, bootId: string): Marks {
  const witness = readMark(files.witness, 'run_dir');
  return { mark: readMark(files.mark, 'state_dir'), witness: witness?.bootId === bootId ? witness : null };
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

/** A ledger that was found, or should have been. The connections are open. */
type Old =
  /** Checked, migrated, and the last one. */
  | { readonly kind: 'sound'; readonly database: Database }
  /** Whole, and perhaps not the last one. */
  | { readonly kind: 'doubted'; readonly database: Database; readonly doubt: string }
  | { readonly kind: 'damaged'; readonly database: Database | null; readonly doubt: string };

/** There is no database. Null: there never was one, as far as anybody can tell. */
function missing(files: LedgerFiles, { witness }: Marks): Old | null {
  const known = isAnythingLeft(files) || (witness !== null && witness.sequence > 0);
  return known ? { kind: 'damaged', database: null, doubt: 'the file is gone' } : null;
}

function openOld(files: LedgerFiles, marks: Marks): Old {
  const version = versionInHeader(files.database);
  refuseNewer(version, files.directory, marks.mark?.writtenBy ?? null);
  if (version === 0) return { kind: 'damaged', database: null, doubt: 'the file is empty, or no ledger' };
  let database: Database | null = null;
  try {
    database = openDatabase(files.database);
    return examined(database, files.directory, marks);
  } catch (error) {
    const code = errorCodeOf(error);
    if (code === 'damaged') return { kind: 'damaged', database, doubt: 'SQLite finds the file damaged' };
    if (code === 'error') return { kind: 'damaged', database, doubt: 'a table or column is missing' };
    database?.close();
    throw error;
  }
}

function examined(database: Database, directory: string, { mark, witness }: Marks): Old {
  // Asked again: the header may be behind the write-ahead log.
  const [version] = askDatabase(database, 'SELECT answer(user_version) FROM pragma_user_version');
  refuseNewer(Number(version), directory, mark?.writtenBy ?? null);
  const findings = askDatabase(database, 'SELECT answer(integrity_check) FROM pragma_integrity_check');
  if (findings.length !== 1 || findings[0] !== 'ok')
    return { kind: 'damaged', database, doubt: 'the integrity check failed' };
  migrate(database);
  database.exec(SHAPE_PROBE);
  const facts = factsOf(database);
  if (facts === null) return { kind: 'damaged', database, doubt: 'the sentinel is missing' };
  const doubt = doubtOf(facts, mark, witness);
  return doubt === null ? { kind: 'sound', database } : { kind: 'doubted', database, doubt };
}

/** A new ledger, beside the old one if there was one, and with its records if they can be read. */
function beginAnew(files: LedgerFiles, old: Exclude<Old, { kind: 'sound' }> | null, date: string): Database {
  if (old === null) {
    makeDraft(files, null, () => undefined);
  } else {
    const aside = isAnythingLeft(files) ? makeAside(files, date) : null;
    const whole = old.kind === 'doubted' ? old.database : null;
    const kept = whole === null ? '' : 'its records are kept, and ';
    const reason = `${old.doubt}; ${kept}every mount is kept with a hold`;
    makeDraft(files, whole, (database) => {
      takeOver(database, { key: aside ?? 'ledger.db', reason, since: date });
    });
    if (aside !== null) moveAside(files, aside);
    // Only now: closing folds the log into the database and removes it by its name, which must not be the old place.
    old.database?.close();
  }
  fs.renameSync(files.draft, files.database);
  syncDirectory(files.directory);
  return openDatabase(files.database);
}

/**
 * Makes a ledger under another name, complete and on disk, so that there is never a half-made `ledger.db`: a copy of
 * `from`, or an empty one, with whatever `write` adds.
 */
function makeDraft({ draft }: LedgerFiles, from: Database | null, write: (database: Database) => void): void {
  for (const path of [draft, `${draft}-wal`, `${draft}-journal`]) fs.rmSync(path, { force: true });
  fs.closeSync(fs.openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  from?.function('draft', () => draft);
  from?.exec('VACUUM INTO draft()');
  const database = openDatabase(draft);
  try {
    migrate(database);
    write(database);
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

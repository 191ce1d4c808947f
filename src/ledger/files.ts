// The ledger's files: their names, who may own them, and how a damaged set is kept. All but the witness lie in one
// directory that only our own user may write to, and the witness in a sticky one: nobody else can swap what was checked.

import * as fs from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.js';

/** `ledger.db` and what belongs to it. */
export interface LedgerFiles {
  readonly directory: string;
  readonly database: string;
  /** A new ledger under construction; worthless until it is renamed. */
  readonly draft: string;
  readonly mark: string;
  readonly reserve: string;
  /** The mark that lasts for a boot; in `run_dir`. */
  readonly witness: string;
}

/** The setting whose directory a file lies in. */
export type Setting = 'state_dir' | 'run_dir';

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, S_IFDIR, S_IFMT, S_IFREG } = fs.constants;
/** What SQLite puts beside a database. */
const COMPANIONS = ['-wal', '-shm', '-journal'] as const;
/** Damaged ledgers of the same second. */
const MAX_SAME_STAMP = 100;

/** The names, in `directory` (`state_dir`), and that of the witness. */
export function filesIn(directory: string, witness: string): LedgerFiles {
  return {
    directory,
    database: join(directory, 'ledger.db'),
    draft: join(directory, 'ledger.new'),
    mark: join(directory, 'ledger.mark'),
    reserve: join(directory, 'ledger.reserve'),
    witness,
  };
}

/**
 * Refuses (`config-invalid` with the setting and the command that fixes it) unless the directory and every ledger file
 * are real (no link, no device), ours, the directory writable by nobody else, and the files readable by nobody else.
 */
export function checkFiles(files: LedgerFiles): void {
  const { directory, database, draft, mark, reserve, witness } = files;
  fs.closeSync(openOwn(directory, O_RDONLY | O_DIRECTORY, 'state_dir'));
  for (const path of [...setOf(database), draft, mark, reserve]) check(path, 'state_dir');
  check(witness, 'run_dir');
}

function check(path: string, setting: Setting): void {
  const descriptor = openIfThere(path, setting);
  if (descriptor !== null) fs.closeSync(descriptor);
}

/** Opens a file to be read if it is there, as {@link openOwn} does. */
export function openIfThere(path: string, setting: Setting): number | null {
  try {
    return openOwn(path, O_RDONLY, setting);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Opens a file, or with O_DIRECTORY a directory; refuses as {@link checkFiles} what it is not safe to trust. */
export function openOwn(path: string, flags: number, setting: Setting): number {
  const kind = (flags & O_DIRECTORY) === 0 ? 'file' : 'directory';
  let descriptor;
  try {
    descriptor = fs.openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    throw openRefusal(error, kind, path, setting);
  }
  try {
    const { mode, uid } = fs.fstatSync(descriptor);
    if ((mode & S_IFMT) !== (kind === 'directory' ? S_IFDIR : S_IFREG)) {
      throw unsound(path, setting, `is not a regular ${kind}`, 'move it elsewhere');
    }
    const us = process.geteuid?.() ?? -1;
    if (uid !== us) {
      throw unsound(path, setting, `is owned by uid ${uid} and not by uid ${us}`, ownerMend(path, setting));
    }
    if (kind === 'directory' && (mode & 0o022) !== 0) {
      throw unsound(path, setting, 'can be written by other users', `chmod 0700 ${path}`);
    }
    if (kind === 'file' && (mode & 0o077) !== 0) {
      throw unsound(path, setting, 'is open to other users', `chmod 0600 ${path}`);
    }
    return descriptor;
  } catch (error) {
    fs.closeSync(descriptor);
    throw error;
  }
}

/** What is wrong, and the fix. A link gives ELOOP (a file) or ENOTDIR (a directory), open(2). */
function openRefusal(error: unknown, kind: 'file' | 'directory', path: string, setting: Setting): unknown {
  const refused = (what: string, mend: string): FairleadError => unsound(path, setting, what, mend);
  if (kind === 'directory' && hasErrno(error, 'ENOENT'))
    return refused(
      'does not exist',
      `put it back if it was moved away; for a new ledger: install -d -m 0700 -o ${process.geteuid?.() ?? ''} ${path}`,
    );
  if (hasErrno(error, 'ELOOP', 'ENOTDIR'))
    return refused(`is a link, or not a ${kind}`, 'put the real one in its place');
  if (hasErrno(error, 'EACCES', 'EPERM')) return refused('cannot be opened by us', ownerMend(path, setting));
  if (hasErrno(error, 'EISDIR')) return refused(`is not a regular ${kind}`, 'move it elsewhere');
  if (hasErrno(error, 'ENXIO')) return refused('is a socket or pipe', 'move it elsewhere');
  return error;
}

/** What lies in run_dir is worth nothing to anybody; the ledger is. */
function ownerMend(path: string, setting: Setting): string {
  return setting === 'run_dir' ? `rm ${path}` : `chown ${process.geteuid?.() ?? ''} ${path}`;
}

function unsound(path: string, setting: Setting, what: string, mend: string): FairleadError {
  return new FairleadError('config-invalid', `${path} ${what}. Mend it: ${mend}`, { field: setting });
}

/** A database and what SQLite keeps beside it. */
function setOf(database: string): readonly string[] {
  return [...COMPANIONS.map((suffix) => database + suffix), database];
}

/** Whether a file-system call failed with one of these errnos. */
export function hasErrno(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && names.some((name) => name === error.code);
}

/** Makes renames and new names in the directory survive a power cut. */
export function syncDirectory(directory: string): void {
  const descriptor = fs.openSync(directory, O_RDONLY | O_DIRECTORY);
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Whether anything of a ledger lies there. */
export function isAnythingLeft({ database, mark }: LedgerFiles): boolean {
  return [...setOf(database), mark].some((path) => fs.existsSync(path));
}

/** Makes a directory for what is kept of a ledger, named by `date` (ISO 8601), and returns its name. */
export function makeAside({ directory }: LedgerFiles, date: string): string {
  return makeDirectory(directory, `ledger.damaged-${date.replace(/\.\d+/, '').replaceAll(/[-:]/g, '')}`);
}

/**
 * Moves the ledger and all that SQLite keeps beside it into the directory `aside`, and a copy of its mark. Nothing is
 * deleted; the same names inside let SQLite's tools open it there. The mark stays until it is written anew, so that a
 * start that is cut off in between is noticed by the next.
 */
export function moveAside({ directory, database, mark }: LedgerFiles, aside: string): void {
  const inside = (path: string): string => join(directory, aside, path.slice(directory.length));
  // The log first: a new database must never meet an old log.
  for (const path of setOf(database)) if (fs.existsSync(path)) fs.renameSync(path, inside(path));
  if (fs.existsSync(mark)) fs.copyFileSync(mark, inside(mark));
  syncDirectory(join(directory, aside));
  syncDirectory(directory);
}

function makeDirectory(parent: string, wanted: string): string {
  for (let attempt = 1; ; attempt++) {
    const name = attempt === 1 ? wanted : `${wanted}-${attempt}`;
    try {
      fs.mkdirSync(join(parent, name), { mode: 0o700 });
      return name;
    } catch (error) {
      if (!hasErrno(error, 'EEXIST') || attempt === MAX_SAME_STAMP) throw error;
    }
  }
}

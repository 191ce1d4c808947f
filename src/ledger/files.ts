// The ledger's files: their names, who may own them, and how a damaged set is kept. Everything happens inside one
// directory that only our own user may write to, so a name that was checked cannot be swapped by anybody else.

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
}

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants;
/** What SQLite puts beside a database. */
const COMPANIONS = ['-wal', '-shm', '-journal'] as const;
/** Damaged ledgers of the same second. */
const MAX_SAME_STAMP = 100;

/** The names, in `directory` (`state_dir`). */
export function filesIn(directory: string): LedgerFiles {
  return {
    directory,
    database: join(directory, 'ledger.db'),
    draft: join(directory, 'ledger.new'),
    mark: join(directory, 'ledger.mark'),
    reserve: join(directory, 'ledger.reserve'),
  };
}

/**
 * Refuses (`config-invalid`, field `state_dir`, with the mend) unless the directory and every ledger file in it are real
 * (no link, no device), ours, the directory writable by nobody else, and the files readable by nobody else.
 */
export function checkFiles(files: LedgerFiles): void {
  const { directory, database, draft, mark, reserve } = files;
  checkOne(directory, 'directory');
  const companions = COMPANIONS.map((suffix) => database + suffix);
  for (const path of [database, ...companions, draft, mark, reserve]) checkOne(path, 'file');
}

function checkOne(path: string, kind: 'directory' | 'file'): void {
  let descriptor;
  try {
    descriptor = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (kind === 'directory' ? O_DIRECTORY : 0));
  } catch (error) {
    if (kind === 'file' && hasErrno(error, 'ENOENT')) return;
    throw unsound(path, ...openRefusal(error, kind, path));
  }
  try {
    const { mode, uid } = fs.fstatSync(descriptor);
    const isKind = kind === 'directory' ? fs.constants.S_IFDIR : fs.constants.S_IFREG;
    if ((mode & fs.constants.S_IFMT) !== isKind) throw unsound(path, `is not a regular ${kind}`, 'move it elsewhere');
    const us = process.geteuid?.() ?? -1;
    if (uid !== us) throw unsound(path, `is owned by uid ${uid} and not by uid ${us}`, `chown ${us} ${path}`);
    if (kind === 'directory' && (mode & 0o022) !== 0) {
      throw unsound(path, 'can be written by other users', `chmod 0700 ${path}`);
    }
    if (kind === 'file' && (mode & 0o077) !== 0) {
      throw unsound(path, 'is open to other users', `chmod 0600 ${path}`);
    }
  } finally {
    fs.closeSync(descriptor);
  }
}

/** What is wrong, and the mend. A link gives ELOOP (a file) or ENOTDIR (a directory), open(2). */
function openRefusal(error: unknown, kind: string, path: string): readonly [string, string] {
  if (hasErrno(error, 'ENOENT'))
    return ['does not exist', `install -d -m 0700 -o ${process.geteuid?.() ?? ''} ${path}`];
  if (hasErrno(error, 'ELOOP', 'ENOTDIR')) return [`is a link, or not a ${kind}`, 'put the real one in its place'];
  if (hasErrno(error, 'EACCES', 'EPERM'))
    return ['cannot be opened by us', `chown ${process.geteuid?.() ?? ''} ${path}`];
  if (hasErrno(error, 'ENXIO')) return ['is a socket or pipe', 'move it elsewhere'];
  throw error;
}

function unsound(path: string, what: string, mend: string): FairleadError {
  return new FairleadError('config-invalid', `${path} ${what}. Mend it: ${mend}`, { field: 'state_dir' });
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

/**
 * Moves the ledger and all that belongs to it into a directory of its own, named by `date` (ISO 8601), and returns that
 * directory's name. Nothing is deleted; the same names inside let SQLite's tools open it there.
 */
export function moveAside({ directory, database, mark }: LedgerFiles, date: string): string {
  const name = makeDirectory(directory, `ledger.damaged-${date.replace(/\.\d+/, '').replaceAll(/[-:]/g, '')}`);
  for (const path of [database, ...COMPANIONS.map((suffix) => database + suffix), mark]) {
    try {
      fs.renameSync(path, join(directory, name, path.slice(directory.length)));
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
  }
  syncDirectory(join(directory, name));
  syncDirectory(directory);
  return name;
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

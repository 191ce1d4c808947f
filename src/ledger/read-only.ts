// The ledger while its disk cannot be written to: what a copy of it says, and a refusal for every commit. Since every effect is
// written down before it happens, nothing is changed on the host meanwhile.

import { copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { FairleadError } from '../core/errors.js';
import type { LedgerSnapshot } from '../core/records.js';
import type { OpenLedger } from './client.js';
import { checkFiles, filesIn, hasErrno } from './files.js';
import { migrate } from './schema.js';
import { unlessItStands, whenWritable } from './state-disk.js';
import { openDatabase } from './sqlite.js';
import { LedgerStore } from './store.js';

/** Where the ledger is, and where a copy may lie for a moment. */
export interface ReadOnlyOptions {
  /** `state_dir`. */
  readonly directory: string;
  /** The path of the witness, in `run_dir`. */
  readonly witness: string;
  /** A directory in which we may make one. */
  readonly scratch: string;
  /** Why nothing can be written. */
  readonly fault: FairleadError;
}

const EMPTY: LedgerSnapshot = {
  origin: 'existing',
  mounts: [],
  attachments: [],
  holds: [],
  operations: [],
  setAside: [],
};

/**
 * Reads the ledger without writing to its disk. `ended` resolves, with an error, when the disk can be written to again: only a new
 * start finds out what is on it. Throws `unavailable` where it cannot be read either.
 */
export async function openReadOnly(options: ReadOnlyOptions): Promise<OpenLedger> {
  const { directory, fault } = options;
  const snapshot = await unlessItStands(readCopy(options), directory);
  const isBack = new FairleadError('unavailable', 'The disk of state_dir can be written to again: starting anew.', {
    field: 'state_dir',
  });
  return {
    fault,
    load: () => Promise.resolve(snapshot),
    commit: () => Promise.reject(fault),
    close: () => Promise.resolve(),
    ended: whenWritable(directory).then(() => isBack),
  };
}

async function readCopy({ directory, witness, scratch }: ReadOnlyOptions): Promise<LedgerSnapshot> {
  const files = filesIn(directory, witness);
  checkFiles(files);
  const aside = await mkdtemp(join(scratch, 'ledger.copy-'));
  try {
    const copied = await copySettled([files.database, `${files.database}-wal`], aside);
    return copied ? load(join(aside, basename(files.database))) : EMPTY;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** Copies the database and its log, again if they changed meanwhile; false where there is no database. */
async function copySettled(paths: readonly string[], into: string): Promise<boolean> {
  for (;;) {
    const before = await Promise.all(paths.map(stateOf));
    if (before[0] === null) return false;
    for (const [index, path] of paths.entries()) {
      if (before[index] !== null) await copyFile(path, join(into, basename(path)));
    }
    const after = await Promise.all(paths.map(stateOf));
    if (JSON.stringify(before) === JSON.stringify(after)) return true;
  }
}

async function stateOf(path: string): Promise<readonly number[] | null> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return [ino, size, mtimeMs];
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

function load(path: string): LedgerSnapshot {
  const database = openDatabase(path);
  migrate(database);
  const store = new LedgerStore({ database, origin: 'existing', marks: [], reserve: null, date });
  try {
    return store.load();
  } finally {
    store.close();
  }
}

function date(): string {
  return new Date().toISOString();
}

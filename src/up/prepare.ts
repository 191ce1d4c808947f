// The directories that Fairlead lives in, before it starts: what is missing is made with the right owner and mode, what is
// there is looked at and refused with the command that mends it. Nothing that exists is changed, but for the group and mode of
// a run directory that is root's alone.

import { chmodSync, chownSync, existsSync, lchownSync, lstatSync, mkdirSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import type { Config, Identity } from '../config.js';
import { FairleadError } from '../core/errors.js';
import { LEDGER_STALL_MS } from '../core/limits.js';
import { BACKEND_NAMES } from '../core/volume.js';
import { runTool } from '../sys/run.js';

/** Changes the time of the file that is named, which its own making is about to change anyway. */
const TOUCH = "const now = new Date(); require('node:fs').lutimesSync(process.argv[1], now, now)";

/**
 * Before {@link prepareDirectories}, where something is to be made below state_dir: whether the disk answers that writes. A
 * process of its own asks, since one that waits for a disk that stands still does not end.
 *
 * @throws FairleadError `unavailable` if it does not answer.
 */
export async function askStateDisk({ stateDir, ledgerDir }: Config): Promise<void> {
  if (existsSync(ledgerDir)) return;
  let above = dirname(ledgerDir);
  while (!existsSync(above)) above = dirname(above);
  const { end } = await runTool(process.execPath, ['--eval', TOUCH, above], LEDGER_STALL_MS);
  if (end !== 'deadline') return;
  throw new FairleadError(
    'unavailable',
    `The disk of ${stateDir} (state_dir) does not answer: look at it (findmnt and the kernel log tell). Nothing was started.`,
    { field: 'state_dir' },
  );
}

/** A directory that cannot be used as it is. */
interface Fault {
  readonly setting: string;
  readonly message: string;
}

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;
const PERMISSIONS = 0o7777;

/** Modes of what is made. */
const MODES = { state: 0o711, ledger: 0o700, run: 0o1775, base: 0o711, parent: 0o755 } as const;

/**
 * Makes and checks state_dir with the ledger's directory, run_dir and the mount bases. To be called as root.
 *
 * @throws FairleadError `config-invalid` that names every unsound directory, its setting and the mend.
 */
export function prepareDirectories(config: Config): void {
  const faults: Fault[] = [];
  attempt('state_dir', faults, () => {
    directory(config.stateDir, MODES.state, [0]);
    reachable(config.stateDir, config.runAs);
    ledgerDirectory(config.ledgerDir, config.runAs);
  });
  attempt('run_dir', faults, () => {
    runDirectory(config.runDir, config.runAs);
    reachable(dirname(config.runDir), config.runAs);
  });
  for (const name of BACKEND_NAMES) {
    const { mountBase } = config.backends[name];
    attempt(`backend.${name}.mount_base`, faults, () => {
      const stat = directory(mountBase, MODES.base, [0, ...config.trustedBaseOwners]);
      if ((stat.mode & 0o001) === 0) {
        throw new Unsound(`${mountBase} keeps the users of its volumes out; chmod 0711 ${mountBase}`);
      }
    });
  }
  if (faults.length === 0) return;
  const lines = faults.map(({ setting, message }) => `  ${setting}: ${message}`);
  throw new FairleadError('config-invalid', ['Directories of Fairlead are not sound:', ...lines].join('\n'), {
    ...(faults[0] === undefined ? {} : { field: faults[0].setting }),
  });
}

class Unsound extends Error {}

/** Takes down what is unsound, and what the system refuses; everything else passes. */
function attempt(setting: string, faults: Fault[], work: () => void): void {
  try {
    work();
  } catch (error) {
    if (error instanceof Unsound) faults.push({ setting, message: error.message });
    else if (error instanceof Error && 'code' in error && 'path' in error) {
      faults.push({
        setting,
        message: `${String(error.path)} cannot be made or changed (${String(error.code)}); name another directory`,
      });
    } else throw error;
  }
}

/** The directory, made if it is missing, and everything above it: real directories that nobody else can change. */
function directory(path: string, mode: number, owners: readonly number[]): Stats {
  if (path !== '/') directory(dirname(path), MODES.parent, owners);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) make(path, mode);
  const stat = found ?? lstatSync(path);
  if (!stat.isDirectory()) throw new Unsound(`${path} is a link or no directory; name the real directory`);
  if (!owners.includes(stat.uid)) throw new Unsound(`${path} belongs to uid ${stat.uid}; chown root ${path}`);
  const calm = mode === MODES.parent && (stat.mode & STICKY) !== 0;
  if ((stat.mode & OTHERS_WRITE) !== 0 && !calm) {
    throw new Unsound(`${path} can be written to by others; chmod go-w ${path}`);
  }
  return stat;
}

/** The parent is root's alone (or sticky), so nobody can put anything else in the place of what was just made. */
function make(path: string, mode: number): void {
  mkdirSync(path, { mode });
  // Whatever the umask.
  chmodSync(path, mode);
}

/** The agent's own directory in state_dir. */
function ledgerDirectory(path: string, { uid, gid }: Identity): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) {
    make(path, MODES.ledger);
    lchownSync(path, uid, gid);
    return;
  }
  if (!found.isDirectory()) throw new Unsound(`${path} is a link or no directory; remove it`);
  if (found.uid !== uid) {
    throw new Unsound(`${path} belongs to uid ${found.uid}, not to the agent's user; chown -R ${uid}:${gid} ${path}`);
  }
  if ((found.mode & 0o077) !== 0) throw new Unsound(`${path} is open to others; chmod 0700 ${path}`);
}

/** The agent makes its socket and lock here; sticky, so that it cannot touch the broker's. */
function runDirectory(path: string, { gid }: Identity): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  const ours = found?.isDirectory() === true && found.uid === 0 && found.gid === gid;
  if (ours && (found.mode & PERMISSIONS) === MODES.run) {
    directory(dirname(path), MODES.parent, [0]);
    return;
  }
  directory(path, MODES.run & ~OTHERS_WRITE, [0]);
  chownSync(path, 0, gid);
  chmodSync(path, MODES.run);
}

/** Whether the agent's user may go through the directory and everything above it. */
function reachable(path: string, agent: Identity): void {
  if (path !== '/') reachable(dirname(path), agent);
  const { mode, uid, gid } = lstatSync(path);
  const bit = uid === agent.uid ? 0o100 : gid === agent.gid ? 0o010 : 0o001;
  if ((mode & bit) === 0) {
    throw new Unsound(`the agent's user (uid ${agent.uid}) cannot go through ${path}; chmod o+x ${path}`);
  }
}

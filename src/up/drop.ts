// Giving up root for good. What comes in is the user to become; what never happens is that the process goes on with any
// way back.

import { readdirSync, readFileSync } from 'node:fs';
import type { Identity } from '../config.js';
import { FairleadError } from '../core/errors.js';

/**
 * Becomes the user, with no group but its own, in every thread; then checks that there is no way back. A process that
 * was not started as root must be that user already.
 *
 * @throws FairleadError `config-invalid` if it is another user; `internal` if the kernel left us any privilege.
 */
export function dropTo({ uid, gid }: Identity): void {
  const { getuid, geteuid, setgroups, setgid, setuid } = process;
  if (!getuid || !geteuid || !setgroups || !setgid || !setuid) throw new Error('this is not a POSIX system');
  if (geteuid() === 0) {
    // glibc does this for all threads of the process at once (setuid(2), "C library/kernel differences").
    setgroups([]);
    setgid(gid);
    setuid(uid);
  } else if (geteuid() !== uid) {
    throw new FairleadError(
      'config-invalid',
      `The agent was started as user ${geteuid()}, but run_as says ${uid}. Start it as that user, or change run_as.`,
      { field: 'run_as' },
    );
  }
  for (const task of readdirSync('/proc/self/task'))
    check(readFileSync(`/proc/self/task/${task}/status`, 'utf8'), uid, gid);
  try {
    setuid(0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EPERM') return;
    throw error;
  }
  throw stillPrivileged();
}

/** One thread (proc_pid_status(5)): all four user and group ids are the ones wanted, and no capability is left. */
function check(status: string, uid: number, gid: number): void {
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '?';
  const only = (ids: string, id: number): boolean => ids.split(/\s+/).every((one) => Number(one) === id);
  const capabilities = ['CapPrm', 'CapEff', 'CapAmb'].map(field);
  if (!only(field('Uid'), uid) || !only(field('Gid'), gid) || !capabilities.every((set) => /^0+$/.test(set))) {
    throw stillPrivileged();
  }
}

function stillPrivileged(): FairleadError {
  return new FairleadError(
    'internal',
    'The kernel left the agent a privilege after it gave up root. It must not go on.',
  );
}

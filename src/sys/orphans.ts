// Process 1 of a process namespace is the parent of every orphan there (pid_namespaces(7)), such as the clients that mount
// helpers leave behind, and has to take their exit statuses; Node takes those of its own children only.

import { readdirSync, readFileSync } from 'node:fs';
import { errnoOf } from './libc/errors.js';
import { reap } from './libc/processes.js';
import { isOwnChild } from './run.js';

/** From now on, where we are process 1, no orphan that has ended stays a zombie. */
export function reapOrphans(): void {
  if (process.pid !== 1) return;
  process.on('SIGCHLD', () => {
    for (const pid of children()) if (!isOwnChild(pid) && isZombie(pid)) reap(pid);
  });
}

/** Our children, whichever thread has them (proc_pid_task_tid_children(5)). */
function children(): readonly number[] {
  return readdirSync('/proc/self/task').flatMap((task) =>
    (ifThere(`/proc/self/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  );
}

function isZombie(pid: number): boolean {
  return /^State:\tZ/m.test(ifThere(`/proc/${pid}/status`) ?? '');
}

/** Null where the process or thread has gone meanwhile. */
function ifThere(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ESRCH') return null;
    throw error;
  }
}

// Process 1 of a process namespace is the parent of every orphan there (pid_namespaces(7)), such as the clients that mount
// helpers leave behind, and has to take their exit statuses; Node takes those of its own children only.

import { readdirSync, readFileSync } from 'node:fs';
import { reap } from './libc/processes.js';
import { ifThere } from './process-files.js';
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
    (ifThere(() => readFileSync(`/proc/self/task/${task}/children`, 'latin1')) ?? '')
      .split(' ')
      .filter(Boolean)
      .map(Number),
  );
}

function isZombie(pid: number): boolean {
  return /^State:\tZ/m.test(ifThere(() => readFileSync(`/proc/${pid}/status`, 'latin1')) ?? '');
}

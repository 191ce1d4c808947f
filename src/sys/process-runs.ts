// Whether a process still runs, as far as an unprivileged user may know: by its number and its name in /proc, which is world-readable
// unless the host hides processes (hidepid, proc(5)).

import { readFileSync } from 'node:fs';
import type { Holder } from '../core/observation.js';
import { escapeForLog } from '../core/text.js';
import { errnoOf } from './libc/errors.js';

/** Whether the process runs, under the name it had; also where that cannot be told, because other users' processes are hidden. */
export function processRuns({ pid, command }: Pick<Holder, 'pid' | 'command'>): boolean {
  const name = nameOf(pid);
  if (name !== null) return name === command;
  return nameOf(1) === null;
}

/** Null: there is no such process, or it is hidden from us. */
function nameOf(pid: number): string | null {
  try {
    return escapeForLog(readFileSync(`/proc/${pid}/comm`, 'utf8').replace(/\n$/, ''));
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}

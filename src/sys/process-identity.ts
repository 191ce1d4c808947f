// Which process a number stands for: numbers are used again, times of beginning are not (proc_pid_stat(5)).

import { readFileSync } from 'node:fs';
import type { ProcessIdentity } from './ports.js';
import { ifThere } from './process-files.js';

/** Place of the state and of the time of beginning among the fields after the command's name. */
const STATE = 0;
const STARTTIME = 19;

/** The process that has this number now; null where there is none, or only a zombie. */
export function identifyProcess(pid: number): ProcessIdentity | null {
  const fields = statOf(pid);
  const began = fields?.[STARTTIME];
  if (fields === null || began === undefined || /^[ZXx]$/.test(fields[STATE] ?? '')) return null;
  return { pid, began };
}

/** Whether it still runs; a zombie does not. */
export function isRunning(process: ProcessIdentity): boolean {
  return identifyProcess(process.pid)?.began === process.began;
}

function statOf(pid: number): readonly string[] | null {
  const text = ifThere(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // The name may have anything in it, a parenthesis too.
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

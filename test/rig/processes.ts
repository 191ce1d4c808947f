// Processes as /proc tells of them: who lives, who is whose child, what they hold.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** One process. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** What `look` finds in /proc, or null when the process has gone meanwhile. */
function ifThere<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return null;
    throw error;
  }
}

/** Every process that lives, zombies left out. */
export function processes(): readonly Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const status = ifThere(() => readFileSync(`/proc/${name}/status`, 'utf8'));
      const command = ifThere(() => readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim());
      if (status === null || command === null || /^State:\s+[ZX]/m.test(status)) return [];
      return [{ pid: Number(name), parent: Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]), command }];
    });
}

/** The processes whose command line has `text` in it. */
export function running(text: string): readonly Process[] {
  return processes().filter(({ command }) => command.includes(text));
}

/** Children of a process, and theirs. */
export function descendants(pid: number): readonly Process[] {
  const all = processes();
  const of = (parent: number): readonly Process[] =>
    all.filter((one) => one.parent === parent).flatMap((one) => [one, ...of(one.pid)]);
  return of(pid);
}

/** A field of /proc/PID/status, for each thread of the process. */
export function statusOfThreads(pid: number, field: string): readonly string[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) => {
    const status = ifThere(() => readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'));
    const value = status === null ? undefined : new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(status)?.[1];
    return value === undefined ? [] : [value.trim()];
  });
}

/** What the open descriptors of a process lead to. */
export function descriptors(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => ifThere(() => [readlinkSync(`/proc/${pid}/fd/${fd}`)]) ?? []);
}

/** Resident memory of a process, megabytes. */
export function memory(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

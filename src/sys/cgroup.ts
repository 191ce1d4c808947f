// Control groups as containers for helpers where there is no systemd: one directory a unit below `fairlead` in the
// version 2 hierarchy (cgroups(7); Documentation/admin-guide/cgroup-v2.rst). No limits are set; the group only says who
// belongs together, so that all of it can be ended, by us or by whoever comes after us.
//
// Moving a whole process into a group waits for an RCU grace period (5 to 15 ms, and the main thread with it). Moving
// just the calling thread does not (0.05 ms). So the groups are threaded: our main thread steps in, forks, and steps
// out again, and the child is born inside. For that our own process must be in the parent group: it joins it once, on a
// pool thread. Threaded groups have no cgroup.kill: their processes are killed one by one until none is left.

import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EMPTY_POLL_FIRST_MS, EMPTY_POLL_LAST_MS } from '../core/limits.js';
import { errnoOf } from './libc/errors.js';

/** Where the version 2 hierarchy may be: alone, or beside version 1 ones. */
const HIERARCHIES = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];

/** The groups below one parent. */
export class Cgroups {
  readonly #parent: string;

  private constructor(parent: string) {
    this.#parent = parent;
  }

  /** Groups below `<hierarchy>/<name>`, joined by our own process; null where that is not permitted or not there. */
  static async join(name: string, hierarchies: readonly string[] = HIERARCHIES): Promise<Cgroups | null> {
    for (const hierarchy of hierarchies) {
      try {
        // A version 1 hierarchy has no such file.
        await readFile(join(hierarchy, 'cgroup.controllers'));
        const parent = join(hierarchy, name);
        makeGroup(parent);
        await writeFile(join(parent, 'cgroup.procs'), '0');
        return new Cgroups(parent);
      } catch (error) {
        // No such hierarchy, read-only, not ours to change, or of a kind that takes no processes.
        if (errnoOf(error) === null) throw error;
      }
    }
    return null;
  }

  /** Makes the unit's group. `in-use`: there is a process in it. */
  make(unit: string): 'made' | 'in-use' {
    const group = this.#path(unit);
    if (makeGroup(group) === 'exists' && populated(group)) return 'in-use';
    writeFileSync(join(group, 'cgroup.type'), 'threaded');
    return 'made';
  }

  /** Moves the calling thread into the unit's group, or back. Whatever is forked meanwhile is born there. */
  enter(unit: string): void {
    writeFileSync(join(this.#path(unit), 'cgroup.threads'), '0');
  }

  /** See {@link enter}. */
  leave(): void {
    writeFileSync(join(this.#parent, 'cgroup.threads'), '0');
  }

  /** Whether a process is in the unit. An empty group is removed. */
  isOccupied(unit: string): boolean {
    if (populated(this.#path(unit))) return true;
    this.remove(unit);
    return false;
  }

  /** Kills everything in the unit and waits until it is empty, at most `budgetMs`; then removes it. */
  async end(unit: string, budgetMs: number): Promise<'gone' | 'alive'> {
    const group = this.#path(unit);
    const until = performance.now() + budgetMs;
    for (let pause = EMPTY_POLL_FIRST_MS; ; pause = Math.min(pause * 2, EMPTY_POLL_LAST_MS)) {
      for (const pid of threadsOf(group)) killProcess(pid);
      if (!populated(group)) {
        this.remove(unit);
        return 'gone';
      }
      const left = until - performance.now();
      if (left <= 0) return 'alive';
      await new Promise((resolve) => setTimeout(resolve, Math.min(pause, left)));
    }
  }

  /** Removes the group if it is empty, with the groups that an earlier version of this program made in it. */
  remove(unit: string): void {
    const group = this.#path(unit);
    if (populated(group)) return;
    for (const inner of groupsIn(group)) removeGroup(join(group, inner));
    removeGroup(group);
  }

  /** Names of the units that have a process in them; empty groups that are met are removed. */
  list(prefix: string): readonly string[] {
    return groupsIn(this.#parent).filter((unit) => unit.startsWith(prefix) && this.isOccupied(unit));
  }

  #path(unit: string): string {
    return join(this.#parent, unit);
  }
}

function makeGroup(path: string): 'made' | 'exists' {
  try {
    mkdirSync(path, { mode: 0o755 });
    return 'made';
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return 'exists';
    throw error;
  }
}

function removeGroup(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const errno = errnoOf(error);
    // Gone already, or somebody came in.
    if (errno !== 'ENOENT' && errno !== 'EBUSY') throw error;
  }
}

/** Whether a living process is in the group or below it. */
function populated(group: string): boolean {
  return /^populated 1$/m.test(readOrEmpty(join(group, 'cgroup.events')));
}

/** Thread ids in the group; one a line. */
function threadsOf(group: string): readonly number[] {
  return readOrEmpty(join(group, 'cgroup.threads')).split('\n').filter(Boolean).map(Number);
}

function groupsIn(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** ENODEV: the group was removed while it was being read. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENODEV') return '';
    throw error;
  }
}

/** Never ourselves, should our thread be caught inside. A thread's id ends its whole process (kill(2) takes either). */
function killProcess(pid: number): void {
  if (pid <= 1 || pid === process.pid) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

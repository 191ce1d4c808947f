// The search for who keeps a mount busy. It reads /proc and /sys only, and never opens or walks a mounted path: where
// files of other processes lie is asked of their links in /proc, which asks no server of the volume. What may hang is
// told beforehand, as far as that can be, and then done on other threads.

import { promises, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { MAX_HOLDERS } from '../core/limits.js';
import { parseMountTable } from '../core/mountinfo.js';
import type { Holder } from '../core/observation.js';
import { escapeForLog } from '../core/text.js';
import { Looks } from './holders-looks.js';
import { ENDED } from './process-files.js';
import { SoughtMounts } from './holders-mounts.js';
import { whereabouts, whereaboutsThroughServer } from './libc/files.js';
import { share } from './libc/threads.js';
import type { Sought } from './ports.js';

/** Rounds over /proc: a process that was born while one was made is looked at in the next. */
const ROUNDS = 3;

/** Another mount namespace. */
interface Namespace {
  /** The first process of it that was seen. */
  readonly pid: number;
  hasCopy: boolean;
  /** A process of it was found to hold the mount. */
  holds: boolean;
}

/** A thread of a process, and what it does not share with the first one. */
interface Thread {
  readonly pid: number;
  /** `/proc/PID/task/TID`. */
  readonly path: string;
  readonly has: { readonly descriptors: boolean; readonly directories: boolean };
}

/** One search. */
export class HolderSearch {
  readonly #kind: Sought['kind'];
  readonly #looks = new Looks();
  readonly #mounts: SoughtMounts;
  readonly #excluded: ReadonlySet<number>;
  readonly #tell: (holder: Holder) => void;
  readonly #ours = readlinkSync('/proc/self/ns/mnt');
  readonly #strangers = new Map<string, Namespace>();
  /** Tables that were read: a process in a chroot does not see all mounts of its namespace. */
  readonly #views = new Set<string>();
  #found = 0;

  /** `tell` is called with every finding as soon as it is made. */
  constructor(sought: Sought, excludePids: readonly number[], tell: (holder: Holder) => void) {
    this.#kind = sought.kind;
    this.#mounts = new SoughtMounts(sought, this.#looks);
    this.#excluded = new Set([...excludePids, process.pid, process.ppid]);
    this.#tell = tell;
  }

  /** Searches; whether everything could be looked at. */
  async run(): Promise<boolean> {
    for (const holder of this.#mounts.holders()) this.#report(holder);
    const others = await this.#byFilesAndDirectories();
    // A process that waits for a page of a dead server has its memory's map locked.
    for (const pid of others) {
      if (this.#isFull()) break;
      if (await this.#hasMapping(pid)) this.#add(pid, 'mapping');
    }
    for (const { pid, hasCopy, holds } of this.#strangers.values()) if (hasCopy && !holds) this.#add(pid, 'namespace');
    return this.#looks.complete;
  }

  /** Whether no more is reported; then the search is incomplete. */
  #isFull(): boolean {
    if (this.#found < MAX_HOLDERS) return false;
    this.#looks.omit();
    return true;
  }

  #report(holder: Holder): void {
    if (this.#isFull()) return;
    this.#found += 1;
    this.#tell(holder);
  }

  #add(pid: number, by: Holder['by']): void {
    const namespace = this.#strangers.get(this.#namespaceOf(`/proc/${pid}`) ?? '');
    if (namespace !== undefined) namespace.holds = true;
    const command = this.#looks.take(() => readFileSync(`/proc/${pid}/comm`, 'utf8')) ?? '';
    this.#report({ pid, command: escapeForLog(command.replace(/\n$/, '')), by });
  }

  /** Looks at all processes; those that hold nothing by a file or a directory. */
  async #byFilesAndDirectories(): Promise<readonly number[]> {
    const seen = new Set<number>(this.#excluded);
    const others: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const all = readdirSync('/proc').map(Number);
      const born = all.filter((pid) => Number.isSafeInteger(pid) && !seen.has(pid));
      if (born.length === 0) break;
      for (const pid of born) {
        if (this.#isFull()) return [];
        seen.add(pid);
        const by = await this.#heldBy(pid);
        if (by === null) others.push(pid);
        else this.#add(pid, by);
      }
    }
    return others;
  }

  async #heldBy(pid: number): Promise<Holder['by'] | null> {
    for (const thread of this.#threadsOf(pid)) {
      this.#meet(thread);
      if (thread.has.directories) {
        if (await this.#leadsThere(`${thread.path}/cwd`)) return 'directory';
        if (await this.#leadsThere(`${thread.path}/root`)) return 'root';
      }
      if (thread.has.descriptors && (await this.#hasDescriptor(thread.path))) return 'descriptor';
    }
    return null;
  }

  /**
   * The threads that have something of their own. The first may have ended before the others, and then has nothing.
   */
  #threadsOf(pid: number): readonly Thread[] {
    const names = this.#looks.take(() => readdirSync(`/proc/${pid}/task`)) ?? [];
    return names.flatMap((name): Thread[] => {
      const tid = Number(name);
      const isOwn = (what: 'descriptors' | 'directories'): boolean => tid === pid || !share(what, pid, tid);
      const has = { descriptors: isOwn('descriptors'), directories: isOwn('directories') };
      return has.descriptors || has.directories ? [{ pid, path: `/proc/${pid}/task/${name}`, has }] : [];
    });
  }

  #namespaceOf(path: string): string | undefined {
    return this.#looks.take(() => readlinkSync(`${path}/ns/mnt`));
  }

  /** Learns the mounts of the thread's namespace, as far as they can be seen from its root, once. */
  #meet({ pid, path }: Thread): void {
    const name = this.#namespaceOf(path);
    const root = this.#looks.take(() => readlinkSync(`${path}/root`));
    if (name === undefined || root === undefined || name === this.#ours) return;
    const namespace = this.#strangers.get(name) ?? { pid, hasCopy: false, holds: false };
    this.#strangers.set(name, namespace);
    const view = `${name} ${root}`;
    if (this.#views.has(view)) return;
    // A thread that is ending has no table any more (EINVAL); then the next one of its namespace is asked.
    const table = this.#looks.take(() => readFileSync(`${path}/mountinfo`, 'latin1'), [...ENDED, 'EINVAL']);
    if (table === undefined) return;
    this.#views.add(view);
    if (this.#mounts.learn(parseMountTable(table))) namespace.hasCopy = true;
  }

  async #hasDescriptor(path: string): Promise<boolean> {
    for (const fd of this.#looks.take(() => readdirSync(`${path}/fd`)) ?? []) {
      if (await this.#leadsThere(`${path}/fd/${fd}`, `${path}/fdinfo/${fd}`)) return true;
    }
    return false;
  }

  /** Whether a link of /proc leads to something that counts; `info`: where its mount is told, too, and nobody asked. */
  async #leadsThere(link: string, info: string | null = null): Promise<boolean> {
    const path = this.#looks.take(() => readlinkSync(link));
    // Sockets, pipes and their like have no path, and there may be very many of them.
    if (path?.startsWith('/') !== true) return false;
    if (!this.#mounts.mayAsk(path)) {
      const where = this.#looks.take(() => whereabouts(link));
      return where !== undefined && this.#mounts.isThere(where);
    }
    const told = info === null ? undefined : this.#looks.take(() => readFileSync(info, 'latin1'));
    const known = this.#mounts.has(Number(/^mnt_id:\s*(\d+)$/m.exec(told ?? '')?.[1] ?? -1));
    if (known !== undefined) return known;
    const where = await this.#looks.takeInTime(() => whereaboutsThroughServer(link));
    return where !== undefined && this.#mounts.isThere(where);
  }

  async #hasMapping(pid: number): Promise<boolean> {
    const file = `/proc/${pid}/maps`;
    const maps = this.#isStuck(pid)
      ? await this.#looks.takeInTime(() => promises.readFile(file, 'latin1'))
      : this.#looks.take(() => readFileSync(file, 'latin1'));
    const ranges = maps === undefined ? [] : this.#mounts.mapped(maps);
    if (this.#kind === 'superblock') return ranges.length > 0;
    for (const range of ranges) {
      // Here numbers have no leading zeros, as they have in maps.
      const link = `/proc/${pid}/map_files/${range.replace(/(^|-)0+(?=.)/g, '$1')}`;
      if (await this.#leadsThere(link)) return true;
    }
    return false;
  }

  /** Whether a thread of the process waits without end, perhaps with the map of its memory locked (proc_pid_stat(5)). */
  #isStuck(pid: number): boolean {
    const tasks = this.#looks.take(() => readdirSync(`/proc/${pid}/task`)) ?? [];
    return tasks.some((tid) => {
      const stat = this.#looks.take(() => readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1'));
      return stat !== undefined && /\) D [^)]*$/.test(stat);
    });
  }
}

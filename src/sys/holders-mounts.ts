// Which mounts count when users are looked for, in our namespace and in others, and what keeps them that is no
// process: mounts and loop devices. By the text of mount tables and of /sys alone.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type MountEntry, parseMountTable } from '../core/mountinfo.js';
import type { Holder } from '../core/observation.js';
import { isBelow } from '../core/paths.js';
import { escapeForLog } from '../core/text.js';
import type { Looks } from './holders-looks.js';
import type { Whereabouts } from './libc/files.js';
import type { Sought } from './ports.js';

/**
 * Filesystems with a d_weak_revalidate in Linux. overlayfs has that of what it lies on, which is hardly ever remote, and
 * it is the root of every container: it is left out, and a search that it holds up is incomplete.
 */
const ASKING = /^(?:nfs4?|9p|vboxsf)$/;

/** The mounts whose users are looked for. */
export class SoughtMounts {
  readonly #sought: Sought;
  readonly #looks: Looks;
  readonly #devices: ReadonlySet<string>;
  readonly #table = parseMountTable(readFileSync('/proc/self/mountinfo', 'latin1'));
  /** By mount ID, which is unique in all namespaces: whether the mount counts. */
  readonly #counts = new Map<number, boolean>();

  /** Where filesystems are mounted that may ask a server about a file that is only named. */
  readonly #asking = new Set<string>();

  constructor(sought: Sought, looks: Looks) {
    this.#sought = sought;
    this.#looks = looks;
    this.#devices = new Set(sought.devices);
    this.learn(this.#table);
  }

  /** Takes over another namespace's table; whether it has a mount that counts. */
  learn(table: readonly MountEntry[]): boolean {
    let any = false;
    for (const entry of table) {
      const counts = this.#isSought(entry);
      any ||= counts;
      this.#counts.set(entry.mountId, counts);
      if (ASKING.test(entry.fsType)) this.#asking.add(entry.mountPoint);
    }
    return any;
  }

  /** Whether looking at the file with this path may hang, as far as its text tells. */
  mayAsk(path: string): boolean {
    return [...this.#asking].some((mountPoint) => path === mountPoint || isBelow(path, mountPoint));
  }

  /** Whether the mount with this ID counts; undefined: it is in no table that was seen. */
  has(mountId: number): boolean | undefined {
    return this.#counts.get(mountId);
  }

  /**
   * Whether something that lies there counts. Where the mount is in no table (lazily detached, or hidden from a
   * process in a chroot), the superblock tells; not of a bound directory, whose superblock is others' too.
   */
  isThere({ mountId, dev }: Whereabouts): boolean {
    return this.has(mountId) ?? (this.#sought.kind === 'superblock' && this.#devices.has(dev));
  }

  /**
   * Regions of a process's memory (proc_pid_maps(5)) that are files on one of the superblocks: their address ranges,
   * one for each file.
   */
  mapped(maps: string): readonly string[] {
    const devices = [...this.#devices].map((dev) => ` ${dev.split(':').map(hex).join(':')} `);
    const ranges = new Map<string, string>();
    for (const line of maps.split('\n')) {
      if (!devices.some((device) => line.includes(device))) continue;
      // 00400000-0040b000 r-xp 00000000 08:01 1234   /usr/bin/cat
      const [range = '', , , , ...file] = line.split(' ');
      ranges.set(file.join(' '), range);
    }
    return [...ranges.values()];
  }

  /** Copies elsewhere in our namespace, mounts inside and on top, and loop devices whose files lie there. */
  holders(): readonly Holder[] {
    const { mountPoint } = this.#sought;
    const mounts = this.#table.filter((entry) =>
      this.has(entry.mountId) === true ? entry.mountPoint !== mountPoint : this.has(entry.parentId) === true,
    );
    return [
      ...mounts.map((entry): Holder => ({ pid: 0, command: escapeForLog(entry.mountPoint), by: 'mount' })),
      ...this.#loopDevices().map((name): Holder => ({ pid: 0, command: `/dev/${name}`, by: 'loop' })),
    ];
  }

  #loopDevices(): readonly string[] {
    const names = this.#looks.take(() => readdirSync('/sys/block')) ?? [];
    return names.filter((name) => {
      if (!/^loop\d+$/.test(name)) return false;
      const file = this.#looks.take(() => readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8'));
      return file !== undefined && this.#liesThere(file.replace(/(?: \(deleted\))?\n$/, ''));
    });
  }

  /** Whether a path of our namespace leads onto a mount that counts, by its text. */
  #liesThere(path: string): boolean {
    let covering: MountEntry | null = null;
    for (const entry of this.#table) {
      const covers = path === entry.mountPoint || isBelow(path, entry.mountPoint);
      if (covers && entry.mountPoint.length >= (covering?.mountPoint.length ?? 0)) covering = entry;
    }
    return covering !== null && this.has(covering.mountId) === true;
  }

  #isSought({ dev, root, mountPoint }: MountEntry): boolean {
    const sought = this.#sought;
    if (!this.#devices.has(dev)) return false;
    if (sought.kind === 'superblock') return true;
    // A directory inside may be a volume of its own: whoever uses its leaf does not use this one.
    if (mountPoint !== sought.mountPoint && dirname(mountPoint) === dirname(sought.mountPoint)) return false;
    return (root === sought.root || isBelow(root, sought.root)) && mountPoint !== sought.source;
  }
}

/** Half of a device's name as maps have it: hexadecimal. */
function hex(number: string): string {
  return Number(number).toString(16).padStart(2, '0');
}

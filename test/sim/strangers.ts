// Strangers who put something of their own on our leaves: other filesystems, Nova's own mount of the right volume, piles of
// mounts, junk.

import type { Volume } from '../../src/core/volume.js';
import type { StateDisk } from './disk.js';
import type { EffectJudge } from './effects.js';
import type { History } from './history.js';
import { sourceOf } from './kernel.js';
import type { Host } from './machine.js';
import type { Chance } from './prng.js';
import type { Scheduler } from './scheduler.js';
import type { Truth } from './truth.js';

/** Mounts in a pile, and letters of the name of their type. */
const PILE = 300;
const LONG_NAME = 4000;

/** The strangers of one run. */
export class Strangers {
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #host: Host;
  readonly #disk: StateDisk;
  readonly #truth: Truth;
  readonly #judge: EffectJudge;

  constructor(parts: {
    scheduler: Scheduler;
    chance: Chance;
    host: Host;
    disk: StateDisk;
    truth: Truth;
    judge: EffectJudge;
  }) {
    this.#scheduler = parts.scheduler;
    this.#chance = parts.chance;
    this.#host = parts.host;
    this.#disk = parts.disk;
    this.#truth = parts.truth;
    this.#judge = parts.judge;
  }

  /** Something else is mounted on the leaf, sometimes with a source that claims to be the volume. */
  cover({ mountPoint, volume }: History): void {
    if (this.#host.tree.nodes.get(mountPoint)?.kind !== 'directory') return;
    const what = { mountPoint, serves: null, maker: 'stranger' } as const;
    const claimed = `quobyte@${volume.export.split(',').join('|')}`;
    const { kernel } = this.#host;
    switch (this.#chance.weighted({ tmpfs: 4, claims: 3, sshfs: 2, users: 2 })) {
      case 'tmpfs':
        kernel.mount({ ...what, fsType: 'tmpfs', source: 'tmpfs', from: 'other' });
        return;
      case 'claims':
        kernel.mount({ ...what, fsType: 'tmpfs', source: claimed, from: 'other' });
        return;
      case 'sshfs':
        kernel.mount({ ...what, fsType: 'fuse.sshfs', source: 'host:', from: 'fuse' });
        return;
      case 'users':
        // Whoever mounts by fusermount chooses type and source; who he is, he does not.
        kernel.mount({ ...what, fsType: 'fuse.quobyte', source: sourceOf(volume.export), from: 'fuse', owner: 1000 });
        return;
    }
  }

  /** The directory that has the name of the local volume now is mounted once more, on whatever is at the leaf. */
  double({ mountPoint, volume }: History): void {
    const { kernel, tree } = this.#host;
    const directory = tree.nodes.get(volume.export);
    if (volume.backend !== 'local' || directory?.kind !== 'directory') return;
    if (kernel.top(mountPoint) === undefined) return;
    const what = { mountPoint, fsType: 'ext4', source: '/dev/sda1', serves: volume.export, maker: 'stranger' } as const;
    const mount = kernel.mount({ ...what, from: kernel.superblocks.host, directory });
    this.#scheduler.after(null, this.#chance.int(100, 15_000), 'adversary: takes its bind away', () => {
      if (kernel.mounts.includes(mount)) kernel.vanish(mount);
    });
  }

  uncover({ mountPoint }: History): void {
    const { kernel } = this.#host;
    while (kernel.top(mountPoint)?.serves === null && kernel.unmount(mountPoint, 'plain', 'stranger') === null);
  }

  /** Hundreds of mounts on one leaf, of a type with an absurdly long name. */
  pile({ mountPoint }: History): void {
    const { kernel, tree } = this.#host;
    if (tree.nodes.get(mountPoint)?.kind !== 'directory') return;
    const fsType = `fuse.${'x'.repeat(LONG_NAME)}`;
    const what = { mountPoint, fsType, source: 'pile', serves: null, maker: 'stranger' } as const;
    const { superblock } = kernel.mount({ ...what, from: 'other' });
    for (let count = 1; count < PILE; count += 1) kernel.mount({ ...what, from: superblock });
    this.#scheduler.after(null, this.#chance.int(1000, 20_000), 'adversary: takes its pile away', () => {
      for (const mount of [...kernel.mounts]) if (mount.superblock === superblock) kernel.vanish(mount);
    });
  }

  /** Nova's own driver mounts the right volume where nothing is mounted. */
  novaMounts({ mountPoint, volume }: History): void {
    const { kernel, tree } = this.#host;
    if (volume.backend !== 'quobyte' || kernel.top(mountPoint) !== undefined) return;
    const node = tree.nodes.get(mountPoint);
    if (node !== undefined && (node.kind !== 'directory' || node.occupied)) return;
    if (node === undefined) tree.put(mountPoint, { kind: 'directory', uid: 0, mode: 0o755, occupied: false });
    const isInMotion = this.isInMotion(volume);
    const mount = kernel.mount({
      mountPoint,
      fsType: 'fuse.quobyte',
      source: sourceOf(volume.export),
      from: 'fuse',
      serves: volume.export,
      maker: 'stranger',
    });
    if (!isInMotion) this.#judge.kept.set(mount, 'Nova made it');
  }

  /** Whether Fairlead is, or may be, at work on the volume: what appears at its leaf then, nobody can tell whose it is. */
  isInMotion(volume: Volume): boolean {
    const records = this.#disk.records();
    return (
      records.operations.some((operation) => operation.volume.leaf === volume.leaf) ||
      records.mounts.some((mount) => mount.volume.leaf === volume.leaf) ||
      this.#truth.keysOf(volume).some((key) => this.#truth.mayBeAtWork(key, this.#scheduler.now))
    );
  }

  junk({ mountPoint }: History): void {
    const { tree, kernel } = this.#host;
    if (kernel.top(mountPoint) !== undefined) return;
    const kind = this.#chance.pick(['link', 'other', 'directory'] as const);
    tree.put(mountPoint, { kind, uid: 0, mode: 0o755, occupied: kind === 'directory' });
    this.#scheduler.after(null, this.#chance.int(100, 10_000), 'adversary: takes its junk away', () => {
      const node = tree.nodes.get(mountPoint);
      if (node !== undefined && (node.kind !== 'directory' || node.occupied)) tree.take(mountPoint);
    });
  }
}

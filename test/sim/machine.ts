// The whole simulated host: kernel, directories, service manager, probe children, and the Machine port as one life of
// the broker sees it. After that life has ended the port does nothing any more and answers nothing of consequence.

import type { Machine } from '../../src/sys/ports.js';
import { Tree } from './directories.js';
import { Kernel } from './kernel.js';
import { Probes } from './probes.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';
import { ServiceManager } from './units.js';

/** One simulated host. */
export class Host {
  readonly kernel: Kernel;
  readonly tree: Tree;
  readonly services: ServiceManager;
  readonly probes: Probes;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;

  constructor(scheduler: Scheduler, chance: Chance) {
    this.#scheduler = scheduler;
    this.#chance = chance.fork();
    this.kernel = new Kernel(scheduler);
    this.tree = new Tree(this.kernel, scheduler);
    this.services = new ServiceManager(scheduler, this.kernel, chance.fork());
    this.services.hasDirectory = (mountPoint) => this.tree.nodes.get(mountPoint)?.kind === 'directory';
    this.probes = new Probes(scheduler, this.kernel, this.tree, chance.fork());
  }

  /** Everything but directories and the ledger goes; a new boot begins. */
  reboot(): void {
    this.kernel.reboot();
    this.services.reboot();
    this.probes.reboot();
  }

  /** The Machine port for one life of the broker. */
  machine(life: Life): Machine {
    const { kernel, tree } = this;
    const directories = tree.port();
    return {
      bootId: kernel.bootId,
      clock: this.#scheduler.clock(life),
      units: this.services.port(life),
      probeChildren: this.probes.port(life),
      table: {
        at: (mountPoint) => kernel.at(mountPoint).map((mount) => kernel.entry(mount)),
        below: (directory) =>
          kernel.mounts
            .filter((mount) => mount.mountPoint.startsWith(`${directory}/`))
            .map((mount) => kernel.entry(mount)),
      },
      directories: {
        ...directories,
        makeLeaf: (base, leaf) => (life.alive ? directories.makeLeaf(base, leaf) : 'exists'),
        removeLeaf: (base, leaf) => (life.alive ? directories.removeLeaf(base, leaf) : 'absent'),
      },
      mounts: {
        harden: (base, leaf, dev, hardening) => {
          const mount = kernel.top(`${base}/${leaf}`);
          if (mount === undefined) return 'not-mounted';
          if (mount.dev !== dev) return 'other';
          if (life.alive)
            kernel.harden(
              mount,
              Object.entries(hardening).flatMap(([name, on]) => (on ? [name] : [])),
            );
          return 'hardened';
        },
        abort: (base, leaf, dev) => {
          const mount = kernel.top(`${base}/${leaf}`);
          if (mount === undefined) return 'not-mounted';
          if (mount.dev !== dev || mount.server === null) return 'other';
          if (life.alive) kernel.setServer(mount, 'dead', 'fairlead');
          return 'aborted';
        },
      },
      processes: {
        holding: ({ devices, mountPoint }, excludePids) =>
          this.#scheduler.later(life, this.#chance.int(0, 6), 'processes: holding', () => ({
            holders: kernel.occupants
              .filter(
                ({ mount }) =>
                  devices.includes(mount.dev) && (mount.server !== null || mount.mountPoint === mountPoint),
              )
              .map(({ holder }) => holder)
              .filter(({ pid }) => !excludePids.includes(pid)),
            complete: true,
          })),
      },
    };
  }
}

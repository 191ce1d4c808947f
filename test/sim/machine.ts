// The whole simulated host: kernel, directories, service manager, probe children, and the Machine port as one life of
// the broker sees it. After that life has ended the port does nothing any more and answers nothing of consequence.

import type { Machine } from '../../src/sys/ports.js';
import { Tree } from './directories.js';
import { Kernel } from './kernel.js';
import { NoteStore } from './notes.js';
import { Probes } from './probes.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';
import { TableView } from './table.js';
import { ServiceManager } from './units.js';

/** One simulated host. */
export class Host {
  readonly kernel: Kernel;
  readonly tree: Tree;
  readonly services: ServiceManager;
  readonly probes: Probes;
  readonly notes: NoteStore;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;

  constructor(scheduler: Scheduler, chance: Chance) {
    this.#scheduler = scheduler;
    this.#chance = chance.fork();
    this.kernel = new Kernel(scheduler);
    this.tree = new Tree(this.kernel, scheduler);
    this.services = new ServiceManager(scheduler, this.kernel, chance.fork());
    this.services.helpers.hasDirectory = (mountPoint) => this.tree.nodes.get(mountPoint)?.kind === 'directory';
    this.notes = new NoteStore();
    this.notes.written = (text) => {
      this.kernel.superblocks.noted(text);
      this.kernel.noted(text);
    };
    this.probes = new Probes(scheduler, this.kernel, this.tree, chance.fork());
  }

  /** Everything but directories and the ledger goes; a new boot begins. */
  reboot(): void {
    this.kernel.reboot();
    this.services.reboot();
    this.probes.reboot();
    this.notes.reboot();
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
      processLimit: () => 'There is no limit here',
      table: new TableView(kernel, tree, this.#scheduler, life, this.#chance),
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
          if (mount.dev !== dev || mount.superblock.kind !== 'fuse') return 'other';
          if (life.alive) kernel.setServer(mount.superblock, 'dead', 'fairlead');
          return 'aborted';
        },
      },
      superblocks: kernel.superblocks.port(),
      namespaces: {
        mounts: (isWanted) => kernel.users.elsewhere(tree).filter(isWanted),
      },
      notes: this.notes.port(life),
      uptime: () => this.#scheduler.now,
      processes: {
        runs: ({ pid }) => this.services.helperRuns(pid),
        holding: (sought, excludePids) =>
          this.#scheduler.later(life, this.#chance.int(0, 6), 'processes: holding', () => {
            const found = kernel.users.holding(sought, tree).filter(({ pid }) => !excludePids.includes(pid));
            // Now and then a search is cut short.
            const complete = !this.#chance.once(0.03);
            return { holders: complete ? found : found.slice(0, found.length / 2), complete };
          }),
      },
    };
  }
}

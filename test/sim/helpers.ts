// What mount helpers do, well or badly, and what becomes of the clients that they leave: a client serves until its
// superblock is gone or its connection is cut, then writes back what was written through it, and ends by itself.

import type { HelperEnd } from '../../src/sys/ports.js';
import type { Mood } from './moods.js';
import { type Kernel, type Mount, type NewMount, short, sourceOf } from './kernel.js';
import type { Chance } from './prng.js';
import type { Scheduler } from './scheduler.js';
import type { Superblock } from './superblocks.js';
import type { ServiceManager, Unit, UnitProcess } from './units.js';

/** Milliseconds within which a client ends that has nothing to write back. */
const PROMPT_END_MS = 20;
/** Milliseconds that a client writes back, at most. */
const LONG_END_MS = 30_000;
/** Milliseconds within which a companion ends after the client. */
const COMPANION_MS = 5000;

/** What the table says of a mount that a helper made in a way of its own. */
const STRANGE: readonly Partial<NewMount>[] = [{ owner: 1000 }, { fsType: 'fuse.other', source: 'other:/' }];

/** The helpers of one host. */
export class Helpers {
  /** Whether there is a directory to mount on. */
  hasDirectory: (mountPoint: string) => boolean = () => true;
  /** Decides what the next helper for an export does. */
  moodOf: (exported: string) => Mood = () => 'prompt';
  /** Decides whether a client of an export that has something to write back needs long for it. */
  isSlowToEnd: (exported: string) => boolean = () => false;
  /** Somebody takes a mount from its leaf as soon as it is there. */
  snatch: (mount: Mount) => void = () => undefined;
  readonly #scheduler: Scheduler;
  readonly #kernel: Kernel;
  readonly #chance: Chance;
  readonly #manager: ServiceManager;
  readonly #clients = new Map<Superblock, { readonly unit: Unit; readonly client: UnitProcess }>();
  /** Clients that end by themselves. */
  readonly #ending = new Set<UnitProcess>();

  constructor(parts: { scheduler: Scheduler; kernel: Kernel; chance: Chance; manager: ServiceManager }) {
    this.#scheduler = parts.scheduler;
    this.#kernel = parts.kernel;
    this.#chance = parts.chance;
    this.#manager = parts.manager;
  }

  /** A helper at work in its unit. `tell` is called once, with how it ended. */
  act(mood: Mood, unit: Unit, helper: UnitProcess, exported: string, tell: (end: HelperEnd) => void): void {
    const { mountPoint } = unit;
    const chance = this.#chance;
    const work = mood === 'slow' ? chance.int(500, 40_000) : chance.int(1, 40);
    const exit = (status: number): void => {
      this.#manager.reap(unit, helper);
      const end = { end: 'exited', status, output: status === 0 ? '' : 'mount failed' } as const;
      // PID 1 ends what a failed start leaves behind, before anybody is told of the failure.
      const isOver = status === 0 || this.#manager.way !== 'service' || unit.processes.size === 0;
      if (isOver) {
        tell(end);
        return;
      }
      unit.emptied.push(() => tell(end));
      this.#manager.signal(unit, 'stranger');
    };
    const mount = (serves: string): Mount => this.#serve(unit, serves, helper);
    const act = (): void => {
      switch (mood) {
        case 'prompt':
        case 'slow':
          mount(exported);
          exit(0);
          return;
        case 'crew':
          this.#manager.spawn(unit, 'companion');
          mount(exported);
          exit(0);
          return;
        case 'fails':
          exit(chance.pick([1, 4, 32]));
          return;
        case 'fails-mounted':
          mount(exported);
          exit(chance.pick([1, 32]));
          return;
        case 'hangs':
        case 'stubborn':
          helper.stubborn = mood === 'stubborn';
          helper.resume = () => exit(1);
          return;
        case 'hangs-mounted':
          mount(exported);
          helper.resume = () => exit(0);
          return;
        case 'wrong':
          mount(`${exported}-other`);
          exit(0);
          return;
        case 'strange':
          this.#serve(unit, `${exported}-strange`, helper, this.#chance.pick(STRANGE));
          this.#endOrHang(helper, exit);
          return;
        case 'snatched':
          this.snatch(mount(exported));
          this.#endOrHang(helper, exit);
          return;
        case 'late':
          this.#mountLate(unit, exported);
          exit(0);
          return;
        case 'nothing':
          exit(0);
          return;
        case 'dies':
          this.#manager.reap(unit, helper);
          tell({ end: 'signalled', signal: 'SIGSEGV', output: '' });
          return;
        case 'dies-mounted':
          this.crash(mount(exported).superblock);
          exit(0);
          return;
        case 'missing':
        case 'untrusted':
          throw new Error('it was never started');
      }
    };
    this.#scheduler.after(null, work, `helper: acts (${mood}) at ${short(mountPoint)}`, () => {
      if (!helper.alive) return;
      if (this.hasDirectory(mountPoint)) act();
      else exit(32);
    });
  }

  /** It has mounted, and ends well, or badly, or not at all. */
  #endOrHang(helper: UnitProcess, exit: (status: number) => void): void {
    const status = this.#chance.pick([0, 1, null]);
    helper.resume = () => exit(status ?? 0);
    if (status === null) return;
    this.#scheduler.after(null, this.#chance.int(50, 2000), 'helper: ends', () => {
      if (helper.alive) exit(status);
    });
  }

  /** Leaves a client behind that mounts when nobody thinks of it any more. */
  #mountLate(unit: Unit, exported: string): void {
    const client = this.#manager.spawn(unit, 'client');
    client.waitedUntil = this.#scheduler.now;
    this.#scheduler.after(null, this.#chance.int(50, 15_000), `helper: late mount at ${short(unit.mountPoint)}`, () => {
      if (!client.alive) return;
      if (this.hasDirectory(unit.mountPoint)) this.#serve(unit, exported, client);
      else this.#manager.reap(unit, client);
    });
  }

  /** Mounts, with a client that serves until its superblock is gone. */
  #serve(unit: Unit, serves: string, maker: UnitProcess, strange: Partial<NewMount> = {}): Mount {
    const client = maker.role === 'client' ? maker : this.#manager.spawn(unit, 'client');
    const mount = this.#kernel.mount({
      mountPoint: unit.mountPoint,
      fsType: 'fuse.quobyte',
      source: sourceOf(serves),
      from: 'fuse',
      serves,
      maker: 'fairlead',
      ...strange,
      madeBy: {
        step: maker.since,
        at: maker.began,
        isGivenUp: this.#manager.isGivenUp(unit, maker),
        isOrphan: !unit.starter.alive,
      },
    });
    const { superblock } = mount;
    client.superblock = superblock;
    client.onDeath = (by) => {
      this.#kernel.setServer(superblock, 'dead', by);
      this.#companionsGo(unit);
    };
    this.#clients.set(superblock, { unit, client });
    superblock.onEnd = () => this.#end(unit, client);
    return mount;
  }

  /** The client has nothing left to serve. */
  #end(unit: Unit, client: UnitProcess): void {
    if (!client.alive || this.#ending.has(client)) return;
    this.#ending.add(client);
    const { superblock } = client;
    // One that came and went while its helper was at work is known to nobody, and is ended with the helper (decision 0021).
    const isUnseen = superblock?.wasNoted !== true && [...unit.processes].some(({ role }) => role === 'helper');
    const isSlow = superblock?.wasUsed === true && !isUnseen && this.isSlowToEnd(superblock.serves ?? '');
    const takes = this.#chance.int(0, isSlow ? this.#chance.pick([2000, LONG_END_MS]) : PROMPT_END_MS);
    client.writesBack = isSlow;
    this.#scheduler.after(null, takes, 'client: ends', () => {
      if (!client.alive) return;
      client.writesBack = false;
      this.#manager.reap(unit, client);
      this.#companionsGo(unit);
    });
  }

  #companionsGo(unit: Unit): void {
    for (const process of unit.processes) {
      if (process.role !== 'companion') continue;
      this.#scheduler.after(null, this.#chance.int(0, COMPANION_MS), 'companion: ends', () => {
        if (process.alive) this.#manager.reap(unit, process);
      });
    }
  }

  /** The client of a superblock crashes. */
  crash(superblock: Superblock): void {
    const known = this.#clients.get(superblock);
    if (known?.client.alive === true) this.#manager.reap(known.unit, known.client);
    this.#kernel.setServer(superblock, 'dead', 'stranger');
    if (known !== undefined) this.#companionsGo(known.unit);
  }
}

// The simulated service manager: units with mount helpers in them, the clients and companions that those leave, and what
// can be told of them. Units belong to PID 1 (or to nobody): they live on when the broker dies. What helpers and clients
// do is in helpers.ts.

import { FairleadError } from '../../src/core/errors.js';
import type { HelperEnd, HelperSpec, Units } from '../../src/sys/ports.js';
import { Helpers } from './helpers.js';
import { isLiving, type Doer, type Superblock } from './superblocks.js';
import { short, type Kernel } from './kernel.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';
import { isOn } from './switches.js';

/** One process in a unit. A `companion` serves nothing and ends some time after the client. */
export interface UnitProcess {
  readonly role: 'helper' | 'client' | 'companion';
  readonly pid: number;
  /** The step, and the milliseconds, at which it began. */
  readonly since: number;
  readonly began: number;
  /** Milliseconds at which nobody waits for it any more. */
  waitedUntil: number;
  /** Its starter has written down who it is. */
  isKnown: boolean;
  /** In D state: SIGKILL does not end it until the world is healed. */
  stubborn: boolean;
  /** False from the moment at which it is sure to die. */
  alive: boolean;
  /** SIGKILL has been sent to it. */
  isKilled: boolean;
  /** What a client serves, once it has mounted. */
  superblock: Superblock | null;
  /** Its superblock is gone, and what was written through it is not all on the server yet. */
  writesBack: boolean;
  onDeath: (by: Doer) => void;
  /** What it does when whatever it hangs on is over. */
  resume: () => void;
}

/** A unit of one leaf. */
export interface Unit {
  readonly name: string;
  readonly mountPoint: string;
  /** The broker that started the helper: it alone knows its own child. */
  starter: Life;
  readonly processes: Set<UnitProcess>;
  /** Waits until the unit is empty. */
  emptied: (() => void)[];
}

/** How helpers are kept on this host: by systemd; in control groups of our own; or in process groups, which daemons leave. */
export type Way = 'service' | 'scope' | 'session' | 'group';

/** Milliseconds that a slow PID 1 takes, at most. */
const SLOW_START_MS = 2000;

/** PID 1 and its units. */
export class ServiceManager {
  readonly units = new Map<string, Unit>();
  readonly helpers: Helpers;
  /** Whether a broker finds all that an earlier one has written down. */
  notesAreWhole: () => boolean = () => true;
  /** False while the host starts up or shuts down. */
  ready = true;
  readonly way: Way;
  /** Share of starts that PID 1 is slow with. */
  slowness = 0;
  readonly #scheduler: Scheduler;
  readonly #kernel: Kernel;
  readonly #chance: Chance;
  #lastPid = 20_000;

  constructor(scheduler: Scheduler, kernel: Kernel, chance: Chance) {
    this.#scheduler = scheduler;
    this.#kernel = kernel;
    this.#chance = chance;
    this.way = chance.weighted({ service: 8, scope: 3, session: 3, group: isOn('groups') ? 5 : 0 });
    scheduler.note(`helpers are started by the way of ${this.way}`);
    this.helpers = new Helpers({ scheduler, kernel, chance: chance.fork(), manager: this });
  }

  /** The port that one life of the broker sees. */
  port(life: Life): Units {
    const soon = (): number => this.#chance.int(0, 4);
    return {
      way: () =>
        this.#scheduler.later(life, soon(), 'units: way', () => {
          if (this.ready) return this.way === 'group' ? 'session' : this.way;
          throw new FairleadError('unavailable', 'systemd is not ready to start units. Try again.');
        }),
      start: (spec) =>
        new Promise((resolve) => {
          if (!life.alive) return;
          this.#kernel.observe({ kind: 'start-helper', mountPoint: wordsOf(spec).mountPoint, by: 'fairlead' });
          // What PID 1 was asked for it does, whatever becomes of who asked; a child of ours is forked at once.
          const takes = this.way === 'service' || this.way === 'scope' ? this.#queueMs() : 0;
          this.#scheduler.after(takes === 0 ? life : null, takes, `units: start ${spec.unit.slice(0, 24)}`, () => {
            this.#start(life, spec, (end) => {
              this.#scheduler.after(life, soon(), `units: ${spec.unit.slice(0, 24)} ${end.end}`, () => resolve(end));
            });
          });
        }),
      state: (unit) => this.#scheduler.later(life, soon(), 'units: state', () => this.told(unit, life)),
      kill: (unit, budgetMs) =>
        new Promise((resolve) => {
          this.#scheduler.after(life, soon(), `units: kill ${unit.slice(0, 24)}`, () => {
            this.#kill(unit, life, budgetMs, (emptied) => resolve(emptied ? 'gone' : 'alive'));
          });
        }),
      list: (prefix) =>
        this.#scheduler.later(life, soon(), 'units: list', () =>
          [...this.units.keys()].filter((name) => name.startsWith(prefix) && this.told(name, life) !== 'idle'),
        ),
    };
  }

  /** Milliseconds that PID 1 needs to begin with what it was asked for. */
  #queueMs(): number {
    return this.#chance.once(this.slowness) ? this.#chance.int(5, SLOW_START_MS) : this.#chance.int(1, 4);
  }

  /** Whether a helper has this number and lives. */
  helperRuns(pid: number): boolean {
    return [...this.units.values()].some(({ processes }) =>
      [...processes].some((process) => process.pid === pid && process.alive),
    );
  }

  /**
   * As whoever keeps the units tells it: systemd knows of a service whether its start is over. Of the others a broker knows
   * its own child; what else is in a control group it cannot tell apart, and what has left a process group it does not see.
   */
  told(name: string, life: Life): 'idle' | 'starting' | 'serving' | 'occupied' {
    const state = this.state(name);
    if (state === 'idle' || this.way === 'service') return state;
    if (state === 'starting' && this.units.get(name)?.starter === life) return 'starting';
    return this.way === 'group' ? 'idle' : 'occupied';
  }

  /** The truth of it. */
  state(name: string): 'idle' | 'starting' | 'serving' {
    const unit = this.units.get(name);
    if (unit === undefined || unit.processes.size === 0) return 'idle';
    return [...unit.processes].some((process) => process.role === 'helper') ? 'starting' : 'serving';
  }

  /** What runs in units of this leaf: whether something of it serves, and whether a unit is there that serves nobody. */
  doings(mountPoint: string): { readonly serve: boolean; readonly end: boolean } {
    let serve = false;
    let end = false;
    for (const unit of this.units.values()) {
      if (unit.mountPoint !== mountPoint) continue;
      if (this.serves(unit)) serve = true;
      else end = true;
    }
    return { serve, end };
  }

  /** Whether a client in the unit serves, or may serve, somebody. */
  serves({ processes }: Unit): boolean {
    return [...processes].some(({ superblock }) => superblock !== null && isLiving(superblock));
  }

  /** Whether a helper, or what it left, may have been given up: its time is over, or nobody can tell it from a client. */
  isGivenUp({ starter }: Unit, { waitedUntil, isKnown }: UnitProcess): boolean {
    if (this.#scheduler.now > waitedUntil) return true;
    return !starter.alive && this.way !== 'service' && !(isKnown && this.notesAreWhole());
  }

  /** What hung goes on: helpers in D state die if they were killed, the others end; but not one that `goesOn` hanging. */
  heal(goesOn: () => boolean): void {
    for (const unit of [...this.units.values()]) {
      for (const process of [...unit.processes]) {
        if (process.role === 'helper' && process.alive && this.serves(unit) && goesOn()) continue;
        process.stubborn = false;
        if (process.alive) process.resume();
        else this.reap(unit, process);
      }
    }
  }

  /** A reboot: nothing is left, and nobody is told. */
  reboot(): void {
    for (const unit of this.units.values()) for (const process of unit.processes) process.alive = false;
    this.units.clear();
  }

  #start(life: Life, spec: HelperSpec, tell: (end: HelperEnd) => void): void {
    const { exported, mountPoint } = wordsOf(spec);
    if (this.told(spec.unit, life) !== 'idle') {
      tell({ end: 'not-started', why: 'name-in-use', detail: 'a unit of that name exists' });
      return;
    }
    const mood = this.helpers.moodOf(exported);
    this.#scheduler.note(`helper: ${mood} for ${short(mountPoint)}`);
    if (mood === 'missing' || mood === 'untrusted') {
      tell({ end: 'not-started', why: mood, detail: 'the file is not as it should be' });
      return;
    }
    // What has left its process group is not seen in the unit any more, and the name is free again.
    const left = this.units.get(spec.unit);
    const unit: Unit = left ?? { name: spec.unit, mountPoint, starter: life, processes: new Set(), emptied: [] };
    unit.starter = life;
    this.units.set(spec.unit, unit);
    let told = false;
    const once = (end: HelperEnd): void => {
      if (told) return;
      told = true;
      deadline.cancel();
      tell(end);
    };
    const helper = this.spawn(unit, 'helper');
    helper.waitedUntil = this.#scheduler.now + spec.budgetMs;
    helper.onDeath = () => once({ end: 'signalled', signal: 'SIGKILL', output: '' });
    const deadline = this.#scheduler.after(life, spec.budgetMs, `helper: time is up for ${short(mountPoint)}`, () => {
      once({ end: 'late', isKnown: true, output: '' });
    });
    if (this.way !== 'service') {
      // Between the fork and the mark the broker may die.
      this.#scheduler.after(life, this.#chance.int(0, 3), 'helper: its starter learns who it is', () => {
        if (!unit.processes.has(helper)) return;
        spec.forked?.({ pid: helper.pid, began: '0' });
        helper.isKnown = life.alive;
      });
    }
    this.helpers.act(mood, unit, helper, exported, once);
  }

  /** A process begins in the unit. */
  spawn(unit: Unit, role: UnitProcess['role']): UnitProcess {
    this.#lastPid += 1;
    const process: UnitProcess = {
      role,
      pid: this.#lastPid,
      since: this.#scheduler.steps,
      began: this.#scheduler.now,
      waitedUntil: Infinity,
      isKnown: false,
      stubborn: false,
      alive: true,
      isKilled: false,
      superblock: null,
      writesBack: false,
      onDeath: () => undefined,
      resume: () => undefined,
    };
    unit.processes.add(process);
    this.#kernel.changed(unit.mountPoint, 'stranger');
    return process;
  }

  /** A process of the unit is over; with the last of them the unit is. */
  reap(unit: Unit, process: UnitProcess): void {
    process.alive = false;
    unit.processes.delete(process);
    if (unit.processes.size === 0) {
      if (this.units.get(unit.name) === unit) this.units.delete(unit.name);
      const { emptied } = unit;
      unit.emptied = [];
      for (const tell of emptied) tell();
    }
    this.#kernel.changed(unit.mountPoint, 'stranger');
  }

  #kill(name: string, life: Life, budgetMs: number, tell: (emptied: boolean) => void): void {
    const unit = this.units.get(name);
    if (unit === undefined) {
      tell(true);
      return;
    }
    let told = false;
    const patience = this.#scheduler.after(life, budgetMs, 'units: killed in vain', () => {
      told = true;
      tell(false);
    });
    unit.emptied.push(() => {
      patience.cancel();
      if (!told) tell(true);
    });
    this.signal(unit, 'fairlead');
  }

  /** Kills what is in the unit, or in the helper's process group. */
  signal(unit: Unit, by: Doer): void {
    const { mountPoint } = unit;
    const own = [...unit.processes].filter(({ role }) => this.way !== 'group' || role === 'helper');
    for (const process of own) {
      const { role, superblock, writesBack } = process;
      if (role === 'client' && !process.isKilled) {
        this.#kernel.observe({ kind: 'kill', superblock, writesBack, mountPoint, by });
      }
      process.isKilled = true;
      if (!process.alive) continue;
      process.alive = !process.stubborn;
      if (process.stubborn) continue;
      this.#scheduler.after(null, this.#chance.int(0, 30), 'units: a process dies', () => {
        if (!process.alive) return;
        this.reap(unit, process);
        process.onDeath(by);
      });
    }
  }
}

function wordsOf({ args }: HelperSpec): { readonly exported: string; readonly mountPoint: string } {
  const [exported, mountPoint] = args.filter((word) => typeof word === 'string');
  if (exported === undefined || mountPoint === undefined) throw new Error('odd argument vector');
  return { exported, mountPoint };
}

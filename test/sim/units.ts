// The simulated service manager: units with mount helpers in them that behave or misbehave, and the daemons they leave.
// Units belong to PID 1: they live on when the broker dies. What a helper does is drawn from its volume's mood.

import { FairleadError } from '../../src/core/errors.js';
import type { HelperEnd, HelperSpec, Units } from '../../src/sys/ports.js';
import type { Mood } from './moods.js';
import { newServer, short, sourceOf, type Kernel, type Mount } from './kernel.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';

/** One process in a unit. */
interface Process {
  readonly role: 'helper' | 'daemon';
  readonly pid: number;
  /** In D state: SIGKILL does not end it until the world is healed. */
  stubborn: boolean;
  alive: boolean;
  readonly onDeath: () => void;
  /** What it does when whatever it hangs on is over. */
  resume: () => void;
}

interface Unit {
  readonly name: string;
  readonly processes: Set<Process>;
  /** Waits until the unit is empty. */
  emptied: (() => void)[];
}

/** PID 1 and its units. */
export class ServiceManager {
  readonly units = new Map<string, Unit>();
  /** Whether there is a directory to mount on. */
  hasDirectory: (mountPoint: string) => boolean = () => true;
  /** Decides what the next helper for an export does. */
  moodOf: (exported: string) => Mood = () => 'prompt';
  /** False while the host starts up or shuts down. */
  ready = true;
  readonly #scheduler: Scheduler;
  readonly #kernel: Kernel;
  readonly #chance: Chance;
  readonly #way: 'service' | 'scope' | 'session';
  #lastPid = 20_000;

  constructor(scheduler: Scheduler, kernel: Kernel, chance: Chance) {
    this.#scheduler = scheduler;
    this.#kernel = kernel;
    this.#chance = chance;
    this.#way = chance.weighted({ service: 4, scope: 1, session: 1 });
  }

  /** The port that one life of the broker sees. */
  port(life: Life): Units {
    const soon = (): number => this.#chance.int(0, 4);
    return {
      way: () =>
        this.#scheduler.later(life, soon(), 'units: way', () => {
          if (this.ready) return this.#way;
          throw new FairleadError('unavailable', 'systemd is not ready to start units. Try again.');
        }),
      start: (spec) =>
        new Promise((resolve) => {
          this.#scheduler.after(life, soon(), `units: start ${spec.unit.slice(0, 24)}`, () => {
            this.#start(life, spec, (end) => {
              this.#scheduler.after(life, soon(), `units: ${spec.unit.slice(0, 24)} ${end.end}`, () => resolve(end));
            });
          });
        }),
      state: (unit) => this.#scheduler.later(life, soon(), 'units: state', () => this.told(unit)),
      kill: (unit, budgetMs) =>
        new Promise((resolve) => {
          this.#scheduler.after(life, soon(), `units: kill ${unit.slice(0, 24)}`, () => {
            this.#kill(unit, life, budgetMs, (emptied) => resolve(emptied ? 'gone' : 'alive'));
          });
        }),
      list: (prefix) =>
        this.#scheduler.later(life, soon(), 'units: list', () =>
          [...this.units.keys()].filter((name) => name.startsWith(prefix)),
        ),
    };
  }

  /** Whether a helper has this number and lives. */
  helperRuns(pid: number): boolean {
    return [...this.units.values()].some(({ processes }) =>
      [...processes].some((process) => process.pid === pid && process.alive),
    );
  }

  /** As whoever keeps the units tells it: systemd knows of a service whether its start is over, and of others nothing. */
  told(name: string): 'idle' | 'starting' | 'serving' | 'occupied' {
    const state = this.state(name);
    return state === 'idle' || this.#way === 'service' ? state : 'occupied';
  }

  state(name: string): 'idle' | 'starting' | 'serving' {
    const unit = this.units.get(name);
    if (unit === undefined || unit.processes.size === 0) return 'idle';
    return [...unit.processes].some((process) => process.role === 'helper') ? 'starting' : 'serving';
  }

  /** What hung goes on: helpers in D state die if they were killed, the others end. */
  heal(): void {
    for (const unit of [...this.units.values()]) {
      for (const process of [...unit.processes]) {
        process.stubborn = false;
        if (process.alive) process.resume();
        else this.#reap(unit, process);
      }
    }
  }

  /** A reboot: nothing is left, and nobody is told. */
  reboot(): void {
    for (const unit of this.units.values()) for (const process of unit.processes) process.alive = false;
    this.units.clear();
  }

  #start(life: Life, spec: HelperSpec, tell: (end: HelperEnd) => void): void {
    const [exported, mountPoint] = spec.args.filter((word) => typeof word === 'string');
    if (exported === undefined || mountPoint === undefined) throw new Error('odd argument vector');
    if ((this.units.get(spec.unit)?.processes.size ?? 0) > 0) {
      tell({ end: 'not-started', why: 'name-in-use', detail: 'a unit of that name exists' });
      return;
    }
    const mood = this.moodOf(exported);
    this.#scheduler.note(`helper: ${mood} for ${short(mountPoint)}`);
    if (mood === 'missing' || mood === 'untrusted') {
      tell({ end: 'not-started', why: mood, detail: 'the file is not as it should be' });
      return;
    }
    this.#kernel.observe({ kind: 'start-helper', mountPoint, unit: spec.unit, by: 'fairlead' });
    const unit: Unit = { name: spec.unit, processes: new Set(), emptied: [] };
    this.units.set(spec.unit, unit);
    let told = false;
    const once = (end: HelperEnd): void => {
      if (told) return;
      told = true;
      deadline.cancel();
      tell(end);
    };
    const helper = this.#spawn(unit, 'helper', () => once({ end: 'signalled', signal: 'SIGKILL', output: '' }));
    const deadline = this.#scheduler.after(life, spec.budgetMs, `helper: time is up for ${short(mountPoint)}`, () => {
      once({ end: 'late', isKnown: true, output: '' });
    });
    if (this.#way !== 'service') spec.forked?.({ pid: helper.pid, began: '0' });
    this.#act(mood, unit, helper, exported, mountPoint, once);
  }

  #act(
    mood: Mood,
    unit: Unit,
    helper: Process,
    exported: string,
    mountPoint: string,
    tell: (end: HelperEnd) => void,
  ): void {
    const chance = this.#chance;
    const work = mood === 'slow' ? chance.int(500, 40_000) : chance.int(1, 40);
    const exit = (status: number): void => {
      this.#reap(unit, helper);
      const end = { end: 'exited', status, output: status === 0 ? '' : 'mount failed' } as const;
      // systemd ends what a failed start leaves behind, before anybody is told of the failure.
      if (status !== 0 && this.#way === 'service') this.#kill(unit.name, null, 500, () => tell(end));
      else tell(end);
    };
    const mount = (serves: string): Mount => this.#serve(unit, serves, mountPoint);
    const act = (): void => {
      switch (mood) {
        case 'prompt':
        case 'slow':
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
        case 'late':
          this.#mountLate(unit, exported, mountPoint);
          exit(0);
          return;
        case 'nothing':
          exit(0);
          return;
        case 'dies':
          this.#reap(unit, helper);
          tell({ end: 'signalled', signal: 'SIGSEGV', output: '' });
          return;
        case 'dies-mounted':
          this.crashDaemon(mount(exported));
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

  /** Leaves a daemon behind that mounts when nobody thinks of it any more. */
  #mountLate(unit: Unit, exported: string, mountPoint: string): void {
    const daemon = this.#spawn(unit, 'daemon', () => undefined);
    this.#scheduler.after(null, this.#chance.int(50, 15_000), `helper: late mount at ${short(mountPoint)}`, () => {
      if (!daemon.alive) return;
      if (this.hasDirectory(mountPoint)) this.#serve(unit, exported, mountPoint);
      this.#reap(unit, daemon);
    });
  }

  /** Mounts, with a daemon that serves until its mount is gone. */
  #serve(unit: Unit, serves: string, mountPoint: string): Mount {
    const server = newServer();
    const mount = this.#kernel.mount({
      root: '/',
      mountPoint,
      fsType: 'fuse.quobyte',
      source: sourceOf(serves),
      server,
      serves,
      maker: 'fairlead',
    });
    const daemon = this.#spawn(unit, 'daemon', () => this.#kernel.setServer(mount, 'dead', 'fairlead'));
    server.onUnmounted = () => {
      this.#scheduler.after(null, this.#chance.int(0, 20), 'daemon: ends', () => {
        if (daemon.alive) this.#reap(unit, daemon);
      });
    };
    this.#daemons.set(mount, () => {
      if (daemon.alive) this.#reap(unit, daemon);
    });
    return mount;
  }

  readonly #daemons = new WeakMap<Mount, () => void>();

  /** The daemon behind a mount crashes. */
  crashDaemon(mount: Mount): void {
    this.#kernel.setServer(mount, 'dead', 'stranger');
    this.#daemons.get(mount)?.();
  }

  #spawn(unit: Unit, role: Process['role'], onDeath: () => void): Process {
    this.#lastPid += 1;
    const process: Process = {
      role,
      pid: this.#lastPid,
      stubborn: false,
      alive: true,
      onDeath,
      resume: () => undefined,
    };
    unit.processes.add(process);
    return process;
  }

  #reap(unit: Unit, process: Process): void {
    process.alive = false;
    unit.processes.delete(process);
    if (unit.processes.size > 0) return;
    if (this.units.get(unit.name) === unit) this.units.delete(unit.name);
    const { emptied } = unit;
    unit.emptied = [];
    for (const tell of emptied) tell();
  }

  #kill(name: string, life: Life | null, budgetMs: number, tell: (emptied: boolean) => void): void {
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
    for (const process of [...unit.processes]) {
      if (!process.alive) continue;
      process.alive = process.stubborn ? false : process.alive;
      if (process.stubborn) continue;
      this.#scheduler.after(null, this.#chance.int(0, 30), 'units: a process dies', () => {
        if (!process.alive) return;
        this.#reap(unit, process);
        process.onDeath();
      });
    }
  }
}

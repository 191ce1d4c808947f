// One cell of the benchmark: rounds in which the subjects take turns. Every answer is checked against the kernel's own
// mount table, outside the time that is measured: a fast lie is no figure.

import { randomUUID } from 'node:crypto';
import { mountTable } from '../test/rig/host.js';
import type { FigureName, Timed } from './figures.js';
import { Measured } from './figures.js';
import { turns, type Cell } from './plan.js';
import type { Job, Manner, Subject, Times, Verb } from './subjects.js';

/** Jobs of one cell: each has a volume of its own. */
export type MakeJobs = (instance: string) => readonly Job[];

/** Runs all rounds. `volumes` are the exports that may be used; as many as the cell's concurrency are. */
export async function measure(cell: Cell, subjects: readonly Subject[], volumes: readonly string[]): Promise<Measured> {
  const measured = new Measured(cell);
  for (let round = 0; round < cell.rounds; round += 1) {
    for (const subject of turns(subjects, round)) {
      const turn = new Turn(subject, cell, (name, ms) => measured.add(name, subject.name, round, ms));
      await turn.run(volumes.slice(0, cell.concurrency));
    }
  }
  return measured;
}

/** One subject's turn in one round: from nothing mounted to nothing mounted. */
class Turn {
  readonly #subject: Subject;
  readonly #cell: Cell;
  readonly #manner: Manner;
  readonly #add: (name: FigureName, ms: readonly number[]) => void;

  constructor(subject: Subject, cell: Cell, add: (name: FigureName, ms: readonly number[]) => void) {
    this.#subject = subject;
    this.#cell = cell;
    this.#manner = cell.concurrency === 1 ? 'one by one' : 'at once';
    this.#add = add;
  }

  async run(volumes: readonly string[]): Promise<void> {
    const first = jobsFor(volumes, randomUUID());
    if (this.#subject.name === 'bare') await this.#subject.run('prepare', first, 'one by one');
    await this.#timed('connect-cold', 'connect', first);
    this.#check(first, 'mounted');
    // The helper takes no part in what comes now, so it is measured where it takes no time.
    if (this.#cell.helperMs === 0) await this.#whileMounted(volumes, first);
    await this.#timed('disconnect', 'disconnect', first);
    this.#check(first, 'gone');
  }

  async #whileMounted(volumes: readonly string[], first: readonly Job[]): Promise<void> {
    const { name } = this.#subject;
    if (name === 'bare') {
      for (let i = 0; i < this.#cell.repeats; i += 1) await this.#timed('probe', 'probe', first);
      return;
    }
    for (let i = 0; i < this.#cell.repeats; i += 1) {
      const others = jobsFor(volumes, randomUUID());
      await this.#timed('connect-mounted', 'connect', others);
      await this.#timed('connect-again', 'connect', first);
      // Nova's own driver takes the mount away from everybody, whoever disconnects.
      if (name !== 'nova-own') await this.#timed('disconnect-shared', 'disconnect', others);
    }
    if (this.#cell.concurrency > 1) await this.#shared(volumes[0] ?? '');
    this.#check(first, 'mounted');
  }

  /** As many instances as jobs are allowed at once, and one volume. */
  async #shared(volume: string): Promise<void> {
    const jobs = Array.from({ length: this.#cell.concurrency }, () => jobsFor([volume], randomUUID())).flat();
    await this.#timed('connect-shared', 'connect', jobs);
    if (this.#subject.name !== 'nova-own') await this.#subject.run('disconnect', jobs, this.#manner);
  }

  async #timed(name: Timed, verb: Verb, jobs: readonly Job[]): Promise<Times> {
    const times = await this.#subject.run(verb, jobs, this.#manner);
    this.#add(name, times.ms);
    if (this.#manner === 'at once') this.#add(`${name}-all`, [times.allMs]);
    return times;
  }

  #check(jobs: readonly Job[], wanted: 'mounted' | 'gone'): void {
    const mounted = new Set(mountTable().map(({ mountPoint }) => mountPoint));
    const wrong = jobs.filter((job) => mounted.has(this.#subject.mountpointOf(job)) !== (wanted === 'mounted'));
    if (wrong.length > 0) throw new Error(`${this.#subject.name}: ${wrong.length} of ${jobs.length} are not ${wanted}`);
  }
}

function jobsFor(volumes: readonly string[], instance: string): readonly Job[] {
  return volumes.map((volume) => ({ export: volume, name: 'disk', instance }));
}

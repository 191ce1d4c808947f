// Children that do what may hang, and jobs for them. A job that hangs keeps its place in its child until it is answered
// or the child is gone, however long that takes; when places run out another child is started, up to a limit. Nothing
// is known here about mounts.

import type { Clock } from '../core/clock.js';
import { LATE, within } from '../core/deadline.js';
import {
  MAX_JOBS_PER_PROBE_CHILD,
  MAX_LEAKED_PROBE_CHILDREN,
  PROBE_PING_MS,
  PROBE_QUEUE_PATIENCE_MS,
} from '../core/limits.js';
import type { ProbeAnswer, ProbeChild, ProbeJob } from '../sys/ports.js';

/** How a job ended. `died`: its child ended first, nobody knows what it did. `exhausted`: it was never begun. */
export type JobEnd = ProbeAnswer | { readonly kind: 'died' } | { readonly kind: 'exhausted'; readonly why: Exhausted };

/** Why no child could have the job: too many hang, or none could be started. */
export type Exhausted = 'too-many' | 'not-started';

/** A job that was given to the pool. */
export interface Job {
  /** Resolves when the job is over; for a hung one perhaps never. */
  readonly end: Promise<JobEnd>;
  /**
   * Kills the child that has the job, and with it whatever hangs there too; it is given no job any more, and jobs that
   * are answered at once still are. A job that no child has is never begun.
   */
  kill(): void;
  /**
   * For a job that is late: whether its child runs at all. One that somebody stopped does not; it is killed, and all its
   * jobs end at once as `died`. Whoever asks about another one of these jobs meanwhile is told `gone`, too. A job that
   * was answered meanwhile, or that no child has yet, counts as one of a child that runs.
   */
  checkChild(): Promise<'runs' | 'gone'>;
}

interface Pending {
  readonly id: number;
  readonly job: ProbeJob;
  readonly resolve: (end: JobEnd) => void;
  child: Place | null;
  hasDied: boolean;
}

/** A child and the jobs that it has not answered. */
interface Place {
  readonly child: ProbeChild;
  readonly jobs: Map<number, Pending>;
  /** It has been or is about to be killed: a killed child with a stuck thread stays, and answers nobody. */
  condemned: boolean;
}

/** One kind of probe children: those of one user. */
export class ProbePool {
  readonly #clock: Clock;
  readonly #start: () => ProbeChild;
  readonly #places = new Set<Place>();
  readonly #queue: Pending[] = [];
  #nextId = 1;
  #hurrying = false;

  constructor(clock: Clock, start: () => ProbeChild) {
    this.#clock = clock;
    this.#start = start;
  }

  /** Processes of this pool that live. */
  get pids(): readonly number[] {
    return [...this.#places].map(({ child }) => child.pid);
  }

  /** Begins a job as soon as there is a place for it. */
  run(job: ProbeJob): Job {
    let resolve: (end: JobEnd) => void = () => undefined;
    const end = new Promise<JobEnd>((settle) => {
      resolve = settle;
    });
    const pending: Pending = { id: this.#nextId++, job, resolve, child: null, hasDied: false };
    this.#queue.push(pending);
    if (this.#open().length === 0) this.#grow();
    this.#post();
    if (this.#queue.length > 0) void this.#hurry();
    return {
      end,
      kill: () => {
        if (pending.child !== null) void this.#condemn(pending.child);
        const waiting = this.#queue.indexOf(pending);
        if (waiting < 0) return;
        this.#queue.splice(waiting, 1);
        resolve({ kind: 'exhausted', why: 'too-many' });
      },
      checkChild: () => this.#check(pending),
    };
  }

  async #check(pending: Pending): Promise<'runs' | 'gone'> {
    const place = pending.child;
    if (place?.jobs.has(pending.id) === true) {
      const answered = new Promise<void>((resolve) => {
        place.child.ping(resolve);
      });
      const isLate = (await within(this.#clock, answered, PROBE_PING_MS)) === LATE;
      if (isLate && place.jobs.has(pending.id)) {
        place.condemned = true;
        place.child.kill();
        // Not when it is gone: a thread of it that hangs keeps it for as long as its server keeps silent.
        this.#abandon(place);
      }
    }
    return pending.hasDied ? 'gone' : 'runs';
  }

  /** Nobody is going to hear what became of the jobs of this child. */
  #abandon(place: Place): void {
    for (const pending of place.jobs.values()) {
      pending.hasDied = true;
      pending.resolve({ kind: 'died' });
    }
    place.jobs.clear();
  }

  /** Kills every child; for the end of the process. */
  close(): void {
    for (const { child } of this.#places) child.kill();
  }

  /** Children that may be given jobs. */
  #open(): readonly Place[] {
    return [...this.#places].filter(({ condemned }) => !condemned);
  }

  /** Kills a child, after a moment in which other jobs that do not hang are answered. */
  async #condemn(place: Place): Promise<void> {
    place.condemned = true;
    if (place.jobs.size > 1) await this.#clock.sleep(PROBE_QUEUE_PATIENCE_MS);
    place.child.kill();
  }

  /** Gives waiting jobs to the children with the most room. */
  #post(): void {
    while (this.#queue.length > 0) {
      const room = this.#open().reduce<Place | null>(
        (best, place) => (best === null || place.jobs.size < best.jobs.size ? place : best),
        null,
      );
      if (room === null || room.jobs.size >= MAX_JOBS_PER_PROBE_CHILD) return;
      const pending = this.#queue.shift();
      if (pending === undefined) return;
      pending.child = room;
      room.jobs.set(pending.id, pending);
      room.child.post(pending.id, pending.job);
    }
  }

  /** Living servers answer at once and free their places; where they do not, more children are needed. */
  async #hurry(): Promise<void> {
    if (this.#hurrying) return;
    this.#hurrying = true;
    while (this.#queue.length > 0) {
      const first = this.#queue[0];
      await this.#clock.sleep(PROBE_QUEUE_PATIENCE_MS);
      if (this.#queue[0] !== first) continue;
      const grown = this.#grow();
      if (grown === 'grown') this.#post();
      else this.#queue.shift()?.resolve({ kind: 'exhausted', why: grown });
    }
    this.#hurrying = false;
  }

  /** Starts one more child, if there are not too many and it can be started. */
  #grow(): 'grown' | Exhausted {
    if (this.#places.size >= MAX_LEAKED_PROBE_CHILDREN) return 'too-many';
    let child: ProbeChild;
    try {
      child = this.#start();
    } catch (error) {
      // EAGAIN, ENOMEM: whoever waits is told so.
      if (error instanceof Error && 'code' in error) return 'not-started';
      throw error;
    }
    const place: Place = { child, jobs: new Map(), condemned: false };
    this.#places.add(place);
    child.onAnswer((id, answer) => {
      const pending = place.jobs.get(id);
      place.jobs.delete(id);
      pending?.resolve(answer);
      this.#post();
      this.#shrink(place);
    });
    child.onExit(() => {
      this.#places.delete(place);
      this.#abandon(place);
      if (this.#queue.length > 0) void this.#hurry();
    });
    return 'grown';
  }

  /** A child without work goes when another one has none either. */
  #shrink(place: Place): void {
    if (place.jobs.size > 0 || place.condemned) return;
    const idle = this.#open().some((other) => other !== place && other.jobs.size === 0);
    if (!idle) return;
    this.#places.delete(place);
    place.child.kill();
  }
}

// Everything that may wait for a filesystem server, from the parent's side: probes, disks and identities are handed to
// children that may hang, and so are unmounts and binds (acts.ts). A mount has one gate: at most one call of ours is outstanding on it, so a hung volume costs one
// thread and delays no other. Whoever asks while a call is at work waits for a fresh one that begins after he asked;
// when the call at work is overdue, everybody is told `hung`, and nothing is added until it is answered.

import type { Clock } from '../core/clock.js';
import { FairleadError } from '../core/errors.js';
import type { DiskSight } from '../core/observation.js';
import type { Access, ProbeFacts } from '../core/verdict.js';
import type { DirectoryIdentity, Machine, MountedDirectory, ProbeJob } from '../sys/ports.js';
import { Acts } from './acts.js';
import { LATE, within } from '../core/deadline.js';
import { noProcess } from './no-process.js';
import { type Job, type JobEnd, ProbePool } from './probe-pool.js';

/** A mount that is to be asked. */
export interface ProbeTarget {
  /** `major:minor` of the superblock: a mount that was replaced has a gate of its own. */
  readonly dev: string;
  readonly mountpoint: string;
  /** Extended attribute to look for, or null. */
  readonly witness: string | null;
  /** Milliseconds after which a call counts as hung. */
  readonly timeoutMs: number;
  /** Whose rights are tested; uid 0: the broker's own. */
  readonly accessUid: number;
  readonly accessGid: number;
}

/** What is known of a disk's name inside a mount. */
export type DiskAnswer =
  | { readonly end: 'answered'; readonly state: 'absent' | 'regular' | 'link' | 'other' }
  | { readonly end: 'failed'; readonly errno: string }
  | { readonly end: 'hung' };

/** What is asked about a bind: see the probe job of this name. */
export type BindSite = Omit<Extract<ProbeJob, { readonly kind: 'identify' }>, 'kind'>;

/** Which directories source and mount of a bind are now; null: none (any more). */
export type Identified =
  | {
      readonly end: 'answered';
      readonly source: DirectoryIdentity | null;
      readonly mounted: MountedDirectory | null;
    }
  | { readonly end: 'failed'; readonly errno: string }
  | { readonly end: 'hung' };

/** The answers of one probe, by name those for the disks that it looked for. */
interface Probed {
  readonly facts: ProbeFacts;
  readonly disks: ReadonlyMap<string, DiskSight>;
}

/** What is asked at a gate, and who waits for it. */
type Call = ProbeCall | DiskCall | IdentifyCall;
interface ProbeCall {
  readonly kind: 'probe';
  access: Access;
  /** What the waiting look for, each name once. */
  readonly disks: Set<string>;
  readonly waiting: Waiting<Probed>[];
}
interface DiskCall {
  readonly kind: 'disk';
  readonly name: string;
  readonly waiting: Waiting<DiskAnswer>[];
}
interface IdentifyCall {
  readonly kind: 'identify';
  readonly site: BindSite;
  readonly waiting: Waiting<Identified>[];
}
interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

interface Gate {
  /** `overdue`: it has not been answered within its time, and is still outstanding. */
  running: 'none' | 'in-time' | 'overdue';
  readonly queue: Call[];
  readonly timeoutMs: number;
  /** The job at work for it, and when that is late, milliseconds. */
  job: Job | null;
  lateAt: number;
}

/** The facts of a probe that was not answered. */
export const HUNG: ProbeFacts = {
  statfs: { end: 'hung' },
  write: 'not-asked',
  search: 'not-asked',
  witness: 'not-asked',
};

const UNANSWERED: Probed = { facts: HUNG, disks: new Map() };

/** The broker's children and gates. */
export class Prober {
  readonly #machine: Machine;
  readonly #clock: Clock;
  readonly #gates = new Map<string, Gate>();
  readonly #pools = new Map<string, ProbePool>();
  /** What changes mounts. */
  readonly acts: Acts;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#clock = machine.clock;
    this.acts = new Acts(machine);
  }

  /** Our own processes that may be seen using a mount. */
  get pids(): readonly number[] {
    return [...this.#pools.values(), this.acts].flatMap((pool) => pool.pids);
  }

  /** Ends all children that can be ended. */
  close(): void {
    for (const pool of this.#pools.values()) pool.close();
    this.acts.close();
  }

  /**
   * The answers of a probe that began after this call. Rejects with `resource-exhausted` when too many probes hang, with
   * `unavailable` when children die.
   */
  async probe(target: ProbeTarget, access: Access): Promise<ProbeFacts> {
    return (await this.#probed(target, access, null)).facts;
  }

  /** {@link probe} that also looks for a file directly below the mountpoint; `disk` null: it was not come to that. */
  async probeWith(
    target: ProbeTarget,
    access: Access,
    name: string | null,
  ): Promise<{ readonly facts: ProbeFacts; readonly disk: DiskSight | null }> {
    const { facts, disks } = await this.#probed(target, access, name);
    return { facts, disk: (name === null ? undefined : disks.get(name)) ?? null };
  }

  #probed(target: ProbeTarget, access: Access, disk: string | null): Promise<Probed> {
    return new Promise((resolve, reject) => {
      const gate = this.#gate(target);
      if (gate.running === 'overdue') {
        resolve(UNANSWERED);
        return;
      }
      let next = gate.queue.find((call) => call.kind === 'probe');
      if (next === undefined) {
        next = { kind: 'probe', access, disks: new Set(), waiting: [] };
        gate.queue.push(next);
      }
      if (access === 'read-write') next.access = access;
      if (disk !== null) next.disks.add(disk);
      next.waiting.push({ resolve, reject });
      this.#pump(target, gate);
    });
  }

  /** State of the file `name` directly below the mountpoint. Rejects like {@link probe}. */
  disk(target: ProbeTarget, name: string): Promise<DiskAnswer> {
    return new Promise((resolve, reject) => {
      const gate = this.#gate(target);
      if (gate.running === 'overdue') {
        resolve({ end: 'hung' });
        return;
      }
      const next = gate.queue.find((call): call is DiskCall => call.kind === 'disk' && call.name === name);
      if (next === undefined) gate.queue.push({ kind: 'disk', name, waiting: [{ resolve, reject }] });
      else next.waiting.push({ resolve, reject });
      this.#pump(target, gate);
    });
  }

  /**
   * Which directories source and mount of a bind are: they lie on the same storage, so they have the mount's gate. Rejects
   * like {@link probe}.
   */
  identify(target: ProbeTarget, site: BindSite): Promise<Identified> {
    return new Promise((resolve, reject) => {
      const gate = this.#gate(target);
      if (gate.running === 'overdue') {
        resolve({ end: 'hung' });
        return;
      }
      const next = gate.queue.find(
        (call): call is IdentifyCall => call.kind === 'identify' && call.site.source === site.source,
      );
      if (next === undefined) gate.queue.push({ kind: 'identify', site, waiting: [{ resolve, reject }] });
      else next.waiting.push({ resolve, reject });
      this.#pump(target, gate);
    });
  }

  /** Whether a call of ours is on the mount now; while one is, the mount is busy through us. */
  using(target: ProbeTarget): 'no' | 'yes' | 'hung' {
    switch (this.#gates.get(keyOf(target))?.running ?? 'none') {
      case 'none':
        return 'no';
      case 'in-time':
        return 'yes';
      case 'overdue':
        return 'hung';
    }
  }

  #gate(target: ProbeTarget): Gate {
    const key = keyOf(target);
    const gate = this.#gates.get(key) ?? {
      running: 'none',
      queue: [],
      timeoutMs: target.timeoutMs,
      job: null,
      lateAt: 0,
    };
    this.#gates.set(key, gate);
    return gate;
  }

  #pump(target: ProbeTarget, gate: Gate): void {
    if (gate.running !== 'none') return;
    const call = gate.queue.shift();
    if (call === undefined) {
      this.#gates.delete(keyOf(target));
      return;
    }
    gate.running = 'in-time';
    void this.#serve(target, gate, call);
  }

  async #serve(target: ProbeTarget, gate: Gate, call: Call): Promise<void> {
    gate.lateAt = this.#clock.now() + gate.timeoutMs;
    const work = this.#answer(target, gate, call);
    // Settles only here: nobody else awaits it, and a call that is never answered never gets further.
    const over = work.then(
      () => undefined,
      (error: unknown) => {
        for (const { reject } of call.waiting) reject(error instanceof Error ? error : new Error('a probe failed'));
      },
    );
    if ((await this.#isHung(gate, over)) === 'hung') {
      gate.running = 'overdue';
      hang(call);
      for (const queued of gate.queue.splice(0)) hang(queued);
      await over;
    }
    gate.running = 'none';
    this.#pump(target, gate);
  }

  /**
   * Waits until the call of the gate is over, or its time is. A child that somebody stopped tells nothing of the server: its
   * job has been begun anew in another one, with its whole time; stopped twice, the call ends with an error.
   */
  async #isHung(gate: Gate, over: Promise<void>): Promise<'over' | 'hung'> {
    while ((await within(this.#clock, over, Math.max(0, gate.lateAt - this.#clock.now()))) === LATE) {
      if (this.#clock.now() < gate.lateAt) continue;
      if ((await gate.job?.checkChild()) !== 'gone') return 'hung';
    }
    return 'over';
  }

  #answer(target: ProbeTarget, gate: Gate, call: Call): Promise<void> {
    switch (call.kind) {
      case 'probe':
        return this.#probeNow(target, gate, call);
      case 'disk':
        return this.#diskNow(target, gate, call);
      case 'identify':
        return this.#identifyNow(gate, call);
    }
  }

  async #probeNow(target: ProbeTarget, gate: Gate, call: ProbeCall): Promise<void> {
    const { mountpoint, witness, accessUid, accessGid } = target;
    const own = accessUid === 0;
    const access = own ? call.access : 'read-only';
    const names = [...call.disks];
    const seen = await this.#run(gate, 0, 0, { kind: 'probe', path: mountpoint, access, witness, disks: names });
    let facts = factsOf(seen);
    if (!own && facts.statfs.end === 'answered') {
      // Only the kernel's superuser is sure to reach the server (a FUSE mount answers others by itself); only the user
      // knows what the user may do.
      const job = { kind: 'probe', path: mountpoint, access: call.access, witness: null, disks: [] } as const;
      const theirs = factsOf(await this.#run(gate, accessUid, accessGid, job));
      facts = { ...facts, write: theirs.write, search: theirs.search };
    }
    const sights = seen.kind === 'probe' ? seen.disks : [];
    const disks = new Map(names.flatMap((name, index) => (sights[index] ? [[name, sights[index]] as const] : [])));
    for (const { resolve } of call.waiting) resolve({ facts, disks });
  }

  async #diskNow(target: ProbeTarget, gate: Gate, call: DiskCall): Promise<void> {
    const seen = await this.#run(gate, 0, 0, { kind: 'disk', path: target.mountpoint, name: call.name });
    const answer: DiskAnswer =
      seen.kind === 'disk'
        ? { end: 'answered', state: seen.state }
        : { end: 'failed', errno: seen.kind === 'failed' ? seen.errno : 'EPROTO' };
    for (const { resolve } of call.waiting) resolve(answer);
  }

  async #identifyNow(gate: Gate, call: IdentifyCall): Promise<void> {
    const seen = await this.#run(gate, 0, 0, { kind: 'identify', ...call.site });
    const answer: Identified =
      seen.kind === 'identify'
        ? { end: 'answered', source: seen.source, mounted: seen.mounted }
        : { end: 'failed', errno: seen.kind === 'failed' ? seen.errno : 'EPROTO' };
    for (const { resolve } of call.waiting) resolve(answer);
  }

  /** Runs a job that only looks; once more if its child died of something else. */
  async #run(gate: Gate, uid: number, gid: number, job: Parameters<ProbePool['run']>[0]): Promise<JobEnd> {
    const pool = this.#pool(uid, gid);
    let end = await (gate.job = pool.run(job)).end;
    if (end.kind === 'died') {
      gate.lateAt = this.#clock.now() + gate.timeoutMs;
      end = await (gate.job = pool.run(job)).end;
    }
    if (end.kind === 'exhausted' && end.why === 'not-started') {
      throw new FairleadError('resource-exhausted', noProcess(this.#machine));
    }
    if (end.kind === 'exhausted') {
      throw new FairleadError(
        'resource-exhausted',
        'Too many volumes hang: there is no probe left to ask this one. Look at the storage service, then try again.',
      );
    }
    if (end.kind === 'died') {
      throw new FairleadError(
        'unavailable',
        'The process that asks the volume ended or was stopped, twice; the volume was not asked. Try again.',
      );
    }
    return end;
  }

  #pool(uid: number, gid: number): ProbePool {
    const key = `${uid}:${gid}`;
    const pool = this.#pools.get(key) ?? new ProbePool(this.#clock, () => this.#machine.probeChildren.start(uid, gid));
    this.#pools.set(key, pool);
    return pool;
  }
}

function keyOf(target: ProbeTarget): string {
  return `${target.dev} ${target.mountpoint}`;
}

function hang(call: Call): void {
  if (call.kind === 'probe') for (const { resolve } of call.waiting) resolve(UNANSWERED);
  else for (const { resolve } of call.waiting) resolve({ end: 'hung' });
}

function factsOf(end: JobEnd): ProbeFacts {
  if (end.kind === 'probe') return end.facts;
  const errno = end.kind === 'failed' ? end.errno : 'EPROTO';
  return { statfs: { end: 'failed', errno }, write: 'not-asked', search: 'not-asked', witness: 'not-asked' };
}

// What changes mounts and may wait for a filesystem server: unmounting and binding, each in a child of its own pool, so
// that neither waits behind probes or behind the other. A leaf has at most one at work; what was not answered in its time
// may act at any later time, until its child is gone.

import type { Clock } from '../core/clock.js';
import type { BindEnd, Machine, MountIdentity, ProbeJob } from '../sys/ports.js';
import { LATE, within } from '../core/deadline.js';
import { type Exhausted, type Job, type JobEnd, ProbePool } from './probe-pool.js';

/** How an unmount ended. `errno` null: done. `lost`: its child ended, look at the table. */
export type UnmountEnd =
  | { readonly end: 'answered'; readonly errno: string | null }
  | { readonly end: 'lost' }
  | { readonly end: 'exhausted'; readonly why: Exhausted };

/** How the binding of a directory ended. `failed`: a call on the directory was answered so. `lost`: see {@link UnmountEnd}. */
export type Binding =
  | { readonly end: Exclude<BindEnd, 'bound'> }
  | ({ readonly end: 'bound' } & Pick<MountIdentity, 'mountId' | 'unique'>)
  | { readonly end: 'failed'; readonly errno: string }
  | { readonly end: 'lost' }
  | { readonly end: 'exhausted'; readonly why: Exhausted };

/** The broker's unmounts and binds. */
export class Acts {
  readonly #clock: Clock;
  readonly #unmounting: ProbePool;
  readonly #binding: ProbePool;
  /** By mountpoint. */
  readonly #outstanding = new Map<string, Job>();

  constructor({ clock, probeChildren }: Machine) {
    this.#clock = clock;
    this.#unmounting = new ProbePool(clock, () => probeChildren.start(0, 0));
    this.#binding = new ProbePool(clock, () => probeChildren.start(0, 0));
  }

  /** Processes that live. */
  get pids(): readonly number[] {
    return [...this.#unmounting.pids, ...this.#binding.pids];
  }

  /** Ends all children that can be ended. */
  close(): void {
    this.#unmounting.close();
    this.#binding.close();
  }

  /** Begins umount2 on `<base>/<leaf>`. Only when nothing is {@link acting} there. */
  async unmount(base: string, leaf: string, mode: 'plain' | 'detach'): Promise<UnmountEnd> {
    const end = await this.#run(this.#unmounting, { kind: 'unmount', base, leaf, mode });
    switch (end.kind) {
      case 'unmount':
      case 'failed':
        return { end: 'answered', errno: end.errno };
      case 'exhausted':
        return { end: 'exhausted', why: end.why };
      default:
        return { end: 'lost' };
    }
  }

  /** Begins to bind a directory to `<base>/<leaf>`. Only when nothing is {@link acting} there. */
  async bind(job: Omit<Extract<ProbeJob, { readonly kind: 'bind' }>, 'kind'>): Promise<Binding> {
    const end = await this.#run(this.#binding, { kind: 'bind', ...job });
    switch (end.kind) {
      case 'bind':
        return end.end === 'bound' ? { end: 'bound', mountId: end.mountId, unique: end.unique } : { end: end.end };
      case 'failed':
        return { end: 'failed', errno: end.errno };
      case 'exhausted':
        return { end: 'exhausted', why: end.why };
      default:
        return { end: 'lost' };
    }
  }

  /** Whether an unmount or a bind at the leaf is still outstanding: until it ends it may act at any time. */
  acting(mountpoint: string): boolean {
    return this.#outstanding.has(mountpoint);
  }

  /** Kills the child of what is outstanding at the leaf and waits for its end; false if it may still act after `ms`. */
  async end(mountpoint: string, ms: number): Promise<boolean> {
    const job = this.#outstanding.get(mountpoint);
    if (job === undefined) return true;
    job.kill();
    return (await within(this.#clock, job.end, ms)) !== LATE;
  }

  #run(pool: ProbePool, job: Extract<ProbeJob, { readonly base: string }>): Promise<JobEnd> {
    const mountpoint = job.base === '/' ? `/${job.leaf}` : `${job.base}/${job.leaf}`;
    if (this.#outstanding.has(mountpoint)) throw new Error('two acts on one leaf at the same time');
    const begun = pool.run(job);
    this.#outstanding.set(mountpoint, begun);
    return begun.end.then((end) => {
      this.#outstanding.delete(mountpoint);
      return end;
    });
  }
}

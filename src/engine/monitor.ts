// Looks at every mount in use, again and again, so that `ls` says how it is before anybody asks, and so that what has died or vanished is
// brought back without a request. A look takes no lock and waits for nobody; what it finds is done by the caretaker, under the lock, after
// a look of its own. Where a request is at work the monitor keeps away.

import { FairleadError } from '../core/errors.js';
import { remedyFor } from '../core/recover.js';
import type { Observation } from '../core/observation.js';
import type { Leaf } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import { verdictOf, type Context } from './context.js';

/** Milliseconds for one look: longer than any probe. */
const LOOK_MS = 30_000;
/** Milliseconds between the beginnings of two looks, at least: a look costs a process or two. */
const PACE_MS = 100;
/** Looks that may be open at the same time. What hangs keeps one open until its probe is overdue. */
const MAX_LOOKS = 128;

/** The engine's eyes. */
export class HealthMonitor {
  readonly #context: Context;
  readonly #caretaker: Caretaker;
  readonly #isReady: () => boolean;
  readonly #looking = new Set<Leaf>();
  /** Leaves that somebody wants looked at again, since they changed while they were looked at. */
  readonly #again = new Set<Leaf>();

  /** `isReady`: whether the start is over; before that the reconciler looks at everything. */
  constructor(context: Context, caretaker: Caretaker, isReady: () => boolean) {
    this.#context = context;
    this.#caretaker = caretaker;
    this.#isReady = isReady;
  }

  /** Begins; ends with the engine. */
  start(): void {
    void this.#work();
  }

  async #work(): Promise<void> {
    const { ports, stopping } = this.#context;
    while (!stopping.signal.aborted) {
      await this.#pause(this.#about(ports.settings.healthIntervalMs / 2));
      if (!this.#isReady() || !ports.broker.connected) continue;
      await this.#round();
    }
  }

  /** Begins a look at each mount in use, evenly over about half the interval, however long the looks take. */
  async #round(): Promise<void> {
    const { state, ports, stopping } = this.#context;
    const leaves = [...state.mounts.keys()].filter((leaf) => this.#isOurs(leaf));
    const pace = ports.settings.healthIntervalMs / (2 * leaves.length);
    for (const leaf of leaves) {
      if (stopping.signal.aborted) return;
      this.#begin(leaf);
      await this.#pause(Math.max(PACE_MS, this.#about(pace)));
    }
  }

  /** Looks at the mount as it is from now on, if it is in use and nobody is at work on it. */
  lookAt(leaf: Leaf): void {
    if (this.#looking.has(leaf)) this.#again.add(leaf);
    else this.#begin(leaf);
  }

  #begin(leaf: Leaf): void {
    if (this.#looking.size < MAX_LOOKS && this.#isOurs(leaf)) void this.#look(leaf);
  }

  /** Whether the mount is in use and nobody is at work on it. */
  #isSettled(leaf: Leaf): boolean {
    const { state, locks } = this.#context;
    const isMounted = state.mounts.get(leaf)?.state === 'mounted' && !state.operations.has(leaf);
    return isMounted && state.isUsed(leaf) && !locks.isHeld(leaf);
  }

  #isOurs(leaf: Leaf): boolean {
    return this.#isSettled(leaf) && !this.#looking.has(leaf);
  }

  async #look(leaf: Leaf): Promise<void> {
    const { state, ports } = this.#context;
    const record = state.mounts.get(leaf);
    if (record === undefined) return;
    const begun = ports.clock.now();
    this.#looking.add(leaf);
    try {
      const onlyRead = state.attachmentsOf(leaf).every(({ readOnly }) => readOnly);
      const probe = onlyRead ? 'read-only' : 'read-write';
      const observation = await ports.broker.observe(record.volume, { probe, budgetMs: LOOK_MS });
      this.#looking.delete(leaf);
      // Whoever has the lock, or had it meanwhile, knows better.
      const sight = state.sightOf(leaf);
      if (state.mounts.get(leaf) !== record || !this.#isOurs(leaf) || sight.verdictAt > begun) return;
      this.#learn(leaf, observation);
    } catch (error) {
      // Nothing was learnt, and the age of the verdict shows it. What it means for the host is said by whoever needs the broker.
      if (!(error instanceof FairleadError)) ports.log.warn('look-failed', { leaf, error });
    } finally {
      this.#looking.delete(leaf);
      if (this.#again.delete(leaf) && !this.#context.stopping.signal.aborted) this.lookAt(leaf);
    }
  }

  /** Takes to heart what somebody else's look found, unless somebody is at work on the leaf. */
  hear(observation: Observation): void {
    if (this.#isSettled(observation.leaf)) this.#learn(observation.leaf, observation);
  }

  #learn(leaf: Leaf, observation: Observation): void {
    const { state, ports } = this.#context;
    const record = state.mounts.get(leaf);
    if (record === undefined) return;
    const before = state.sightOf(leaf).verdict;
    this.#context.note(observation);
    const verdict = verdictOf(observation);
    if (verdict !== null && verdict !== before) {
      ports.log.warn('verdict-changed', { leaf, from: before, to: verdict, reason: observation.judgement?.reason });
    }
    const remedy = remedyFor({
      record,
      operation: undefined,
      attachments: state.attachmentsOf(leaf).length,
      held: state.holds.has(leaf),
      observation,
      bootId: ports.settings.bootId,
      onVanish: ports.settings.onVanish,
    });
    if (remedy === 'restore' || remedy === 'forget') this.#caretaker.schedule(record.volume);
  }

  /** About that long, between half and one and a half times, so that agents of many hosts do not look in step. */
  #about(ms: number): number {
    return ms * (0.5 + parseInt(this.#context.ports.random.id().slice(0, 8), 16) / 0xffffffff);
  }

  async #pause(ms: number): Promise<void> {
    const { ports, stopping } = this.#context;
    await ports.clock.sleep(ms, stopping.signal);
  }
}

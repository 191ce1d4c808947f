// What every part of the engine works with: the ports, the state, the locks, and the few things they all do.

import { FairleadError } from '../core/errors.js';
import type { DiskName } from '../core/names.js';
import { type Holder, mayBeMounted, type Observation } from '../core/observation.js';
import type { Change } from '../core/records.js';
import type { Access, Verdict } from '../core/verdict.js';
import type { Leaf, Volume } from '../core/volume.js';
import { Evidence } from './evidence.js';
import { Locks } from './locks.js';
import { Looks } from './looks.js';
import { State } from './state.js';
import type { EnginePorts } from './ports.js';

/** The engine's parts, shared by its rooms. */
export class Context {
  readonly ports: EnginePorts;
  readonly state = new State();
  readonly looks: Looks;
  readonly locks: Locks;
  readonly evidence: Evidence;
  /** Aborts when the engine stops; nothing new is begun after that. */
  readonly stopping = new AbortController();
  readonly #working = new Set<Promise<unknown>>();
  #noRoom: FairleadError | null = null;
  /** True when everything that was open at the start has been worked off or is being worked off in the background. */
  reconciled = false;

  constructor(ports: EnginePorts) {
    this.ports = ports;
    this.locks = new Locks(ports.clock);
    this.looks = new Looks(ports.clock);
    this.evidence = new Evidence(this.state, ports.clock, ports.settings.evidence);
  }

  /** Makes changes durable, then true in memory. */
  async commit(wanted: readonly Change[]): Promise<void> {
    if (wanted.length === 0) return;
    const endsDoubt = wanted.some(({ kind }) => kind === 'lift-hold') && this.#isSettledBy(wanted);
    const changes: readonly Change[] = endsDoubt ? [...wanted, { kind: 'settle-doubt' }] : wanted;
    try {
      await this.ports.ledger.commit(changes);
    } catch (error) {
      if (error instanceof FairleadError && error.code === 'resource-exhausted' && error.field === 'state_dir')
        this.#noRoom = error;
      throw error;
    }
    if (changes.some(takesOn)) this.#noRoom = null;
    this.state.apply(changes);
    if (endsDoubt) this.ports.log.info('ledger-doubt-settled', {});
  }

  /** Ends the doubt about the ledger if no hold is left that stands for what it may have lost. */
  async settleDoubt(): Promise<void> {
    if (!this.#isSettledBy([])) return;
    await this.commit([{ kind: 'settle-doubt' }]);
    this.ports.log.info('ledger-doubt-settled', {});
  }

  /** Whether the ledger is doubted, and nothing is left to be done about it after these changes. */
  #isSettledBy(changes: readonly Change[]): boolean {
    const { isDoubted, holds } = this.state;
    if (!isDoubted || !this.reconciled) return false;
    const lifted = new Set(changes.flatMap((change) => (change.kind === 'lift-hold' ? [change.leaf] : [])));
    return [...holds.keys()].every((leaf) => lifted.has(leaf)) && changes.every(({ kind }) => kind !== 'put-hold');
  }

  /** Why the state disk takes nothing new, as far as is known; null: it does. */
  get diskFault(): FairleadError | null {
    return this.ports.ledger.fault ?? this.#noRoom;
  }

  /** Looks at a leaf, with a fresh probe where asked for and at a disk with it, and remembers what was seen. */
  async observe(
    volume: Volume,
    probe: Access | null,
    budgetMs: number,
    disk: DiskName | null = null,
  ): Promise<Observation> {
    const observation = await this.ports.broker.observe(volume, { probe, disk, budgetMs });
    this.note(observation);
    this.#noteStranger(volume, observation);
    return observation;
  }

  /** Who keeps the mount busy. Not knowing stops nothing: the list is for people. */
  async holdersOf(volume: Volume, budgetMs: number): Promise<readonly Holder[]> {
    try {
      return (await this.ports.broker.holders(volume, budgetMs)).holders;
    } catch (error) {
      if (!(error instanceof FairleadError)) throw error;
      this.ports.log.warn('holders-unknown', { leaf: volume.leaf, code: error.code });
      return [];
    }
  }

  /** Remembers what is mounted at a leaf and is not ours; shown by `ls` where nothing is recorded. */
  #noteStranger({ leaf, backend }: Volume, { mounts, mountpoint }: Observation): void {
    const { strangers } = this.state;
    if (mounts.at(-1)?.recognised === false) strangers.set(leaf, { leaf, backend, mountpoint, state: 'foreign' });
    else strangers.delete(leaf);
  }

  /** Remembers what was seen, for `ls`. */
  note(observation: Observation): void {
    const { leaf } = observation;
    if (!this.state.mounts.has(leaf)) return;
    const sight = this.state.sightOf(leaf);
    sight.mounted = mayBeMounted(observation);
    sight.vanished = !sight.mounted;
    sight.mounts = JSON.stringify(observation.mounts);
    sight.former = observation.former;
    const verdict = verdictOf(observation);
    if (verdict === null) return;
    sight.verdict = verdict;
    sight.verdictAt = this.ports.clock.now();
  }

  /** Throws `unavailable` once the engine is stopping. */
  checkRunning(): void {
    if (this.stopping.signal.aborted) {
      throw new FairleadError('unavailable', 'The agent is stopping. Try again when it is back.');
    }
  }

  /**
   * Refuses (`foreign`) a volume whose leaf is recorded for another one: leaves are digests, and digests can be made to
   * collide. Whoever asks for the second must neither reach nor end what belongs to the first.
   */
  requireOwnLeaf({ leaf, url }: Volume): void {
    const owner = this.state.mounts.get(leaf)?.volume;
    if (owner === undefined || owner.url === url) return;
    throw new FairleadError(
      'foreign',
      'Another volume has this leaf: both names have one digest. Rename one of them.',
      {
        leaf,
      },
    );
  }

  /** Keeps count of work that outlives its request, so that a stop can wait for it. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.#working.add(work);
    try {
      return await work;
    } finally {
      this.#working.delete(work);
    }
  }

  /** Waits until all tracked work is over, or the time is up. */
  async drain(ms: number): Promise<void> {
    const timer = new AbortController();
    await Promise.race([Promise.allSettled([...this.#working]), this.ports.clock.sleep(ms, timer.signal)]);
    timer.abort();
  }

  /** Pauses between two attempts: ends early when a broker connects or the engine stops. */
  async pause(ms: number): Promise<void> {
    const { broker, clock } = this.ports;
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    if (this.stopping.signal.aborted) return;
    this.stopping.signal.addEventListener('abort', wake);
    const forget = broker.onConnect(wake);
    await clock.sleep(ms, woken.signal);
    forget();
    this.stopping.signal.removeEventListener('abort', wake);
  }

  /** Shows that the operation on a leaf cannot go on for now, to `ls` and to whoever waits. */
  setStuck(leaf: Leaf, error: FairleadError): void {
    this.state.sightOf(leaf).stuck = true;
    this.locks.setStuck(leaf, error);
  }

  /** The operation goes on. */
  clearStuck(leaf: Leaf): void {
    this.state.sightOf(leaf).stuck = false;
    this.locks.clearStuck(leaf);
  }
}

/** The verdict of an observation: from the table alone where that decides, from the probe otherwise; null if not probed. */
export function verdictOf(observation: Observation): Verdict | null {
  const top = observation.mounts.at(-1);
  if (top !== undefined) return top.recognised ? (observation.judgement?.verdict ?? null) : 'foreign';
  return observation.directory === 'absent' || observation.directory === 'empty' ? 'absent' : 'foreign';
}

/** What is only written while the state disk has room; the rest is written on a full one, too. */
function takesOn(change: Change): boolean {
  return change.kind === 'put-attachment' || (change.kind === 'put-operation' && change.operation.kind === 'connect');
}

// One run of a seed. Events run one at a time, and after each the invariants are judged; after the troubled part the
// world is healed, must come to rest, and then, when everybody has gone, to nothing.

import type { History } from './history.js';
import { judgeEmpty, judgeFormer, judgeList, judgeMounted, judgeOrphans, judgeQuiet, judgeWatched } from './records.js';
import type { CallEnd, Key } from './truth.js';
import { quiet } from './scheduler.js';
import { World, type Options, type Violation } from './world.js';

/** Milliseconds of virtual time: the troubled part, coming to rest, and the end. */
const TROUBLED_MS = 60_000;
const REST_MS = 180_000;
const END_MS = 120_000;
const LAST_LOOK_MS = 15_000;
/** Events after which something certainly never comes to rest. */
const MAX_STEPS = 200_000;

/** What became of a run. */
export interface Result {
  readonly seed: number;
  readonly profile: string;
  /** The first invariant that broke, or null. */
  readonly violation: Violation | null;
  /** The whole trace, if it was kept. */
  readonly lines: readonly string[];
  /** Equal for equal runs. */
  readonly hash: string;
  readonly steps: number;
  /** How many requests ended how: `connect reply`, `disconnect busy` … */
  readonly ends: ReadonlyMap<string, number>;
  /** Journal points, how often they were reached and how often a process died there. */
  readonly reached: ReadonlyMap<string, number>;
  readonly diedAt: ReadonlyMap<string, number>;
  /** Events that the processes logged, and how often. */
  readonly logged: ReadonlyMap<string, number>;
}

/** Runs one seed. Equal seeds and options give equal runs. */
export async function simulate(seed: number, options: Options): Promise<Result> {
  const world = new World(seed, options);
  const stray = (error: unknown): void => {
    world.fail(
      'I6',
      `a promise was left alone with ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  };
  process.on('unhandledRejection', stray);
  try {
    await new Run(world).run(seed);
  } finally {
    process.off('unhandledRejection', stray);
  }
  const { scheduler, processes, truth } = world;
  const ends = new Map<string, number>();
  for (const call of truth.calls) {
    const name = `${call.kind} ${nameOf(call.end)}`;
    ends.set(name, (ends.get(name) ?? 0) + 1);
  }
  return {
    seed,
    profile: world.profile.name,
    violation: world.violation,
    lines: scheduler.lines,
    hash: scheduler.hash,
    steps: scheduler.steps,
    ends,
    reached: processes.reached,
    diedAt: processes.diedAt,
    logged: processes.logged,
  };
}

class Run {
  readonly #world: World;
  /** At what state of affairs the records were last judged. */
  #judged = '';

  constructor(world: World) {
    this.#world = world;
  }

  async run(seed: number): Promise<void> {
    const { scheduler, processes, callers, adversary, domains, chance, profile, truth } = this.#world;
    scheduler.note(`seed ${seed}, profile ${profile.name}`);
    processes.startBroker();
    processes.startAgent();
    await this.#until(chance.int(0, 2000));
    for (let caller = chance.int(2, 3); caller > 0; caller -= 1) callers.run(chance.int(5, 11), 5000);
    adversary.run();
    domains.run();
    await this.#until(TROUBLED_MS);
    adversary.heal();
    domains.rest();
    await this.#until(scheduler.now + REST_MS / 2);
    // A helper that was at work when the ledger was lost, and one that was given up, may have mounted for nobody since; the
    // next start finds what they did.
    if (truth.recordsLost || processes.logged.has('helper-left')) processes.crashAgent('to look at the host once more');
    await this.#until(scheduler.now + REST_MS);
    await this.#rest();
    await this.#end();
  }

  /** Quiet: nothing is in progress, everything that is there is needed, and what is needed can be had. */
  async #rest(): Promise<void> {
    const world = this.#world;
    const { truth, host, histories, processes, fail } = world;
    if (world.violation !== null) return;
    const list = processes.agent?.engine.list();
    if (list === undefined) {
      fail('I3', 'the agent does not come back');
      return;
    }
    const isDoubtful: Parameters<typeof judgeQuiet>[4] = (history, since) =>
      world.isDoubtful(history, since === 'ever' ? 0 : world.scheduler.steps);
    judgeQuiet(list, truth, host, histories, isDoubtful, fail);
    judgeWatched(list, truth, histories, fail);
    for (const key of truth.keys.filter((each) => truth.certainty(each) === 'live')) {
      // The directory that its users have was removed, and the URL names another one now.
      if (histories.some(({ volume, now }) => now.top === 'former' && truth.keysOf(volume).includes(key))) continue;
      const end = await this.#ask(key, 'connect');
      if (end?.how !== 'reply') fail('I2', `${key} cannot be connected again in a healthy world: ${nameOf(end)}`);
    }
    if (this.violated) return;
    judgeMounted(truth, histories, fail);
  }

  /** Everybody goes, and nothing stays. */
  async #end(): Promise<void> {
    const { truth, host, histories, processes, disk, domains, scheduler, adversary, fail } = this.#world;
    adversary.end(END_MS / 6);
    for (const key of truth.keys.filter((each) => truth.certainty(each) !== 'ended')) {
      const end = await this.#ask(key, 'disconnect');
      if (end?.how !== 'reply') fail('I5', `${key} cannot be disconnected in a healthy world: ${nameOf(end)}`);
    }
    // Where evidence may lift holds, it must: nobody else does. It may not while the records are not whole.
    domains.end();
    const byEvidence = domains.policy.liftHolds === 'evidence' && disk.records().setAside.length === 0;
    for (const history of byEvidence ? [] : histories) {
      const { agent } = processes;
      if (this.violated || agent === null) return;
      const listed = agent.engine.list().mounts.find(({ leaf }) => leaf === history.volume.leaf);
      if (listed === undefined || listed.hold === null) continue;
      await this.#lift(history);
    }
    await this.#until(scheduler.now + END_MS);
    if (this.violated) return;
    const records = disk.records();
    for (const history of histories)
      this.#strangersGo(
        history,
        records.mounts.some(({ volume }) => volume.leaf === history.volume.leaf),
      );
    // What the broker has noted of strangers' clients, it forgets when it is asked of their leaves the next time.
    if (host.notes.names.length > 0) {
      processes.crashAgent('to look at the host once more');
      await this.#until(scheduler.now + LAST_LOOK_MS);
    }
    judgeEmpty(records, truth, host, histories, fail);
  }

  /** The operator lifts a hold; refused while the last survey or process shows a use, and asked again then. */
  async #lift({ volume: { leaf } }: History): Promise<void> {
    const { processes, scheduler, fail } = this.#world;
    for (let round = 0; round < 5; round += 1) {
      const { agent } = processes;
      if (this.violated || agent === null) return;
      const context = { deadlineMs: 10_000, signal: new AbortController().signal };
      if ((await this.#drive(agent.engine.liftHold({ leaf, force: false }, context))) !== null) return;
      await this.#until(scheduler.now + 20_000);
    }
    fail('I3', 'a hold cannot be lifted although nobody uses the mount');
  }

  /** What strangers made, and nobody told Fairlead of, they take away themselves. */
  #strangersGo({ mountPoint }: History, recorded: boolean): void {
    const { host } = this.#world;
    if (recorded) return;
    while (host.kernel.top(mountPoint)?.maker === 'stranger') {
      if (host.kernel.unmount(mountPoint, 'detach', 'stranger') !== null) break;
    }
    if (host.tree.nodes.get(mountPoint)?.maker === 'stranger') host.tree.take(mountPoint);
  }

  /** One request in the healthy world, asked again while it is refused for a while. */
  async #ask(key: Key, kind: 'connect' | 'disconnect'): Promise<CallEnd | null> {
    const { truth, callers, scheduler } = this.#world;
    const calls = truth.callsOf(key).filter((call) => call.kind === 'connect');
    const last = calls.findLast((call) => call.end?.how === 'reply') ?? calls.at(-1) ?? truth.callsOf(key).at(-1)!;
    const { volume, disk, consumer, readOnly } = last;
    let end: CallEnd | null = null;
    for (let round = 0; round < 5; round += 1) {
      if (this.violated) return end;
      end = await this.#drive(callers.ask({ kind, volume, disk, consumer, readOnly, deadlineMs: 60_000 }, 'steadfast'));
      if (end?.how === 'reply') return end;
      await this.#until(scheduler.now + 20_000);
    }
    return end;
  }

  /** Lets time pass until a promise is settled. */
  async #drive<T>(work: Promise<T>): Promise<T | null> {
    let settled: { readonly value: T | null } | null = null;
    work.then(
      (value) => (settled = { value }),
      () => (settled = { value: null }),
    );
    const isSettled = (): boolean => settled !== null;
    await this.#until(this.#world.scheduler.now + 400_000, isSettled);
    return (settled as { readonly value: T | null } | null)?.value ?? null;
  }

  /** Runs events up to that moment, and judges after each. */
  async #until(moment: number, enough: () => boolean = () => false): Promise<void> {
    const { scheduler, fail } = this.#world;
    await quiet();
    while (!this.violated && !enough() && (await scheduler.step(moment))) {
      this.#judge();
      if (scheduler.steps > MAX_STEPS) fail('I3', `no rest after ${MAX_STEPS} events`);
    }
    if (!enough()) scheduler.now = Math.max(scheduler.now, moment);
  }

  #judge(): void {
    const { processes, truth, disk, domains, histories, fail } = this.#world;
    const { agent } = processes;
    if (agent?.ready !== true) return;
    const state = `${agent.name} ${disk.acknowledged} ${truth.version} ${domains.version}`;
    if (state === this.#judged) return;
    this.#judged = state;
    const list = agent.engine.list();
    judgeList(list, truth, fail);
    judgeFormer(list, histories, (history) => this.#world.isDoubtful(history, 0), fail);
    judgeOrphans(list, domains, fail);
  }

  get violated(): boolean {
    return this.#world.violation !== null;
  }
}

function nameOf(end: CallEnd | null): string {
  if (end === null) return 'open';
  if (end.how === 'error') return end.code;
  if (end.how === 'lost') return 'lost';
  return 'outcome' in end.reply ? end.reply.outcome : 'reply';
}

// A small world for tests of orderings: a scripted broker over a pretended mount table, a ledger in memory, and one
// list of everything that the engine asked of either, in order. Real dispatch and real crashes belong to test/sim.

import type { Broker, DiskFacts, Inventory } from '../../../src/core/broker-api.js';
import { errorBody, FairleadError, type ErrorCode } from '../../../src/core/errors.js';
import type { AgentPoint } from '../../../src/core/journal.js';
import type { Consumer, DiskName } from '../../../src/core/names.js';
import type {
  FormerClient,
  Holder,
  InventoryItem,
  LeafState,
  Observation,
  ObservedMount,
} from '../../../src/core/observation.js';
import type {
  Change,
  Ledger,
  LedgerSnapshot,
  MountRecord,
  OperationId,
  OperationRecord,
  SetAsideRecord,
} from '../../../src/core/records.js';
import type { ConnectReply, DisconnectReply, RequestContext } from '../../../src/core/requests.js';
import type { StepEnd, StepKind } from '../../../src/core/steps.js';
import type { Access, Judgement } from '../../../src/core/verdict.js';
import { leafOf, type Export, type Leaf, type Volume, type VolumeUrl } from '../../../src/core/volume.js';
import { createEngine, type RunningEngine } from '../../../src/engine/engine.js';
import type { EnginePorts, EvidencePolicy } from '../../../src/engine/ports.js';
import { State } from '../../../src/engine/state.js';
import { quiet, VirtualClock } from './virtual-clock.js';

export const HEALTHY: Judgement = { verdict: 'healthy', reason: 'It answers.', dead: false };
export const HUNG: Judgement = { verdict: 'hung', reason: 'It does not answer.', dead: false };
export const DEAD: Judgement = { verdict: 'stale', reason: 'Its connection is gone.', dead: true, errno: 'ENOTCONN' };

export const ALICE = 'cli:alice' as Consumer;
export const BOB = 'cli:bob' as Consumer;
export const DISK = 'disk' as DiskName;

/** A volume by its name. */
export function volumeOf(name: string): Volume {
  const exported = `reg/${name}` as Export;
  return { backend: 'quobyte', export: exported, url: `quobyte://reg/${name}` as VolumeUrl, leaf: leafOf(exported) };
}

export const VOLUME = volumeOf('vol');
const mountpointOf = (volume: Pick<Volume, 'leaf'>): string => `/mnt/${volume.leaf}`;

/** One mount as the table shows it: the right volume, hardened, unless said otherwise. */
export function mountOf(different: Partial<ObservedMount> = {}): ObservedMount {
  return { recognised: true, fsType: 'fuse.quobyte', dev: '0:77', readOnly: false, hardened: true, ...different };
}

/** What is the case at one leaf. */
export interface Place {
  directory: LeafState;
  mounts: ObservedMount[];
  former: FormerClient[];
  judgement: Judgement;
  busy: boolean;
  holders: Holder[];
  disk: DiskFacts['state'];
}

/** How a step ends that fails. */
export function ending(end: 'refused' | 'unknown', code: ErrorCode): StepEnd {
  return { end, error: errorBody(new FairleadError(code, `A step ended: ${code}.`)) };
}

/** Takes the place of one call; `proceed` is what would have happened. */
export type Instead = (proceed: () => Promise<unknown>) => unknown;

/** A promise that a test keeps closed until it opens it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** How a promise ended, or that it has not. */
export interface Watched<T> {
  readonly promise: Promise<T>;
  state: 'open' | 'kept' | 'broken';
  value?: T;
  error?: unknown;
}

export class Bench {
  readonly clock = new VirtualClock();
  /** What the ledger would still have after a power cut. */
  durable = new State();
  /** Calls and commits, in order: `observe`, `step unmount`, `commit end-attachment put-mount:releasing`, `reach …`. */
  readonly events: string[] = [];
  /** Attachments that were durable at some time. */
  readonly everAttached = new Set<string>();
  /** Leaves that were to be unmounted while somebody used them. */
  readonly takenAway: Leaf[] = [];
  /** Warnings, by name. */
  readonly warnings: string[] = [];
  /** What the engine says that it did, by name. */
  readonly told: string[] = [];
  readonly places = new Map<Leaf, Place>();
  strangers: InventoryItem[] = [];
  engine: RunningEngine;
  brokerConnected = true;
  bootId = 'boot-1';
  onVanish: 'report' | 'remount' = 'report';
  /** Taken over by the next life of the agent; the first one looks at nothing by itself. */
  healthIntervalMs = Infinity;
  /** Processes that have ended. */
  readonly ended = new Set<number>();
  /** What the ledger could not read back. */
  setAside: SetAsideRecord[] = [];
  /** Taken over by the next life of the agent. */
  evidence: EvidencePolicy | null = null;
  readonly listeners = new Set<() => void>();
  readonly #instead = new Map<string, Instead[]>();
  readonly #always = new Map<string, Instead>();
  /** Counts lives of the agent: what belongs to an earlier one never returns. */
  #life = 0;
  #ids = 0;

  constructor() {
    this.engine = createEngine(this.#ports());
  }

  /** The place of a leaf: nothing there, unless a test said otherwise. */
  at(volume: Volume): Place {
    let place = this.places.get(volume.leaf);
    if (place === undefined) {
      place = {
        directory: 'absent',
        mounts: [],
        former: [],
        judgement: HEALTHY,
        busy: false,
        holders: [],
        disk: 'regular',
      };
      this.places.set(volume.leaf, place);
    }
    return place;
  }

  /** The volume lies mounted, as in `different`. */
  mounted(volume: Volume, different: Partial<Place> = {}): Place {
    return Object.assign(this.at(volume), { directory: 'empty', mounts: [mountOf()], ...different });
  }

  /** The next call of that name happens like this instead. */
  once(call: string, instead: Instead): void {
    this.#instead.set(call, [...(this.#instead.get(call) ?? []), instead]);
  }

  /** Every call of that name happens like this, until the returned function is called. */
  always(call: string, instead: Instead): () => void {
    this.#always.set(call, instead);
    return () => this.#always.delete(call);
  }

  /** Everything that was scripted and has not happened yet does not happen. */
  calm(): void {
    this.#instead.clear();
    this.#always.clear();
  }

  /** Writes records as an earlier agent would have left them. */
  remember(...changes: Change[]): void {
    this.durable.apply(changes);
  }

  /** Starts the engine and lets it put things in order as far as that takes no time. */
  async start(): Promise<void> {
    await this.engine.start();
    await quiet();
  }

  /** The agent is gone, at this instruction; nothing of it goes on. A new one is made, not started yet. */
  crash(): void {
    this.#life += 1;
    this.calm();
    this.listeners.clear();
    this.engine = createEngine(this.#ports());
  }

  connect(
    volume = VOLUME,
    consumer = ALICE,
    options: { deadlineMs?: number; signal?: AbortSignal; readOnly?: boolean; disk?: DiskName } = {},
  ): Watched<ConnectReply> {
    const request = { volume, consumer, disk: options.disk ?? null, readOnly: options.readOnly ?? false };
    return watch(this.engine.connect(request, context(options)));
  }

  disconnect(
    volume = VOLUME,
    consumer = ALICE,
    options: { deadlineMs?: number; signal?: AbortSignal } = {},
  ): Watched<DisconnectReply> {
    return watch(this.engine.disconnect({ volume, consumer, disk: null }, context(options)));
  }

  /** The events since the last call of this, without looks and points. */
  effects(): string[] {
    const all = this.events.splice(0);
    return all.filter((event) => event.startsWith('step ') || event.startsWith('commit '));
  }

  /** Wakes whoever waits for a broker. */
  brokerConnects(): void {
    this.brokerConnected = true;
    for (const listener of [...this.listeners]) listener();
  }

  #ports(): EnginePorts {
    const life = this.#life;
    const [onVanish, bootId] = [() => this.onVanish, () => this.bootId];
    return {
      broker: this.#broker(life),
      ledger: this.#ledger(life),
      clock: {
        now: () => this.clock.now(),
        date: () => this.clock.date(),
        sleep: async (ms, signal) => {
          if (ms === Infinity) await forever();
          await this.clock.sleep(ms, signal);
          if (life !== this.#life) await forever();
        },
      },
      processes: { runs: ({ pid }) => !this.ended.has(pid) },
      random: {
        id: () =>
          ((BigInt(++this.#ids) * 0x9e3779b97f4a7c15n) % (1n << 64n)).toString(16).padStart(16, '0').padEnd(32, '0'),
      },
      log: { info: (event) => this.told.push(event), warn: (event) => this.warnings.push(event) },
      settings: {
        authorise: () => undefined,
        mountpointOf,
        parseVolume: (url) => {
          if (url === 'quobyte://throw') throw new FairleadError('invalid-argument', 'Not a volume.');
          return volumeOf(url.replace('quobyte://reg/', ''));
        },
        get onVanish() {
          return onVanish();
        },
        get bootId() {
          return bootId();
        },
        evidence: this.evidence,
        healthIntervalMs: this.healthIntervalMs,
      },
      reach: (point: AgentPoint) => this.events.push(`reach ${point}`),
    };
  }

  /** One call: written down, perhaps replaced by the script, and without an end if the agent is gone by then. */
  async #call<T>(life: number, call: string, event: string, proceed: () => Promise<T>): Promise<T> {
    if (life !== this.#life) return forever();
    this.events.push(event);
    const instead = this.#instead.get(call)?.shift() ?? this.#always.get(call);
    try {
      const result = (await (instead === undefined ? proceed() : instead(proceed))) as T;
      return life === this.#life ? result : await forever();
    } catch (error) {
      if (life !== this.#life) return forever();
      throw error;
    }
  }

  #ledger(life: number): Ledger {
    return {
      fault: null,
      load: () => Promise.resolve({ ...snapshotOf(this.durable), setAside: this.setAside }),
      commit: (changes) =>
        this.#call(life, 'commit', `commit ${changes.map(wordOf).join(' ')}`, () => {
          this.durable.apply(changes);
          for (const change of changes) {
            if (change.kind === 'put-attachment') this.everAttached.add(change.attachment.id);
          }
          return Promise.resolve();
        }),
      close: () => Promise.resolve(),
    };
  }

  /** What a question for changes of the mount table is answered; by default it never is. */
  watching: Broker['watch'] = () => new Promise(() => undefined);

  #broker(life: number): Broker {
    const connected = (): boolean => this.brokerConnected;
    const asked = <T>(call: string, event: string, compute: () => T): Promise<T> =>
      this.#call(life, call, event, () => {
        if (this.brokerConnected) return Promise.resolve(compute());
        return Promise.reject(new FairleadError('unavailable', 'There is no broker.'));
      });
    return {
      observe: (volume, { probe, disk = null }) => asked('observe', 'observe', () => this.#look(volume, probe, disk)),
      step: async (volume, kind) => {
        try {
          return await asked(`step ${kind}`, `step ${kind}`, () => this.#act(volume, kind));
        } catch (error) {
          return { end: 'refused', error: errorBody(error) };
        }
      },
      settle: () => asked('settle', 'settle', () => 'settled' as const),
      disk: (volume) => asked('disk', 'disk', () => ({ state: this.at(volume).disk })),
      holders: (volume) => asked('holders', 'holders', () => ({ holders: this.at(volume).holders, complete: true })),
      abort: (volume) => asked('abort', 'abort', () => this.#abort(volume)),
      inventory: () => asked('inventory', 'inventory', () => this.#inventory()),
      watch: (seen, budgetMs) => this.watching(seen, budgetMs),
      examine: () => asked('examine', 'examine', () => []),
      onConnect: (listener) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
      get connected() {
        return connected();
      },
    };
  }

  #look(volume: Pick<Volume, 'leaf'>, probe: Access | null, disk: DiskName | null = null): Observation {
    const place = this.places.get(volume.leaf);
    const mounts = [...(place?.mounts ?? [])];
    return {
      leaf: volume.leaf,
      mountpoint: mountpointOf(volume),
      directory: mounts.length > 0 ? 'mounted' : (place?.directory ?? 'absent'),
      mounts,
      mayHideOurs: false,
      unit: 'idle',
      former: [...(place?.former ?? [])],
      ...(probe !== null && place !== undefined && mounts.at(-1)?.recognised === true
        ? { judgement: place.judgement, ...(disk === null ? {} : { disk: { state: place.disk } }) }
        : {}),
    };
  }

  #act(volume: Volume, kind: StepKind): StepEnd {
    const place = this.at(volume);
    const done: StepEnd = { end: 'done', changed: true };
    switch (kind) {
      case 'make-leaf':
        place.directory = 'empty';
        return done;
      case 'mount':
        if (place.directory !== 'empty') return ending('refused', 'foreign');
        place.mounts.push(mountOf({ hardened: false }));
        place.judgement = HEALTHY;
        return done;
      case 'harden':
        place.mounts = place.mounts.map((mount) => ({ ...mount, hardened: true }));
        return done;
      case 'unmount':
        if (this.durable.isUsed(volume.leaf)) this.takenAway.push(volume.leaf);
        if (place.busy) return ending('refused', 'busy');
        place.mounts.pop();
        return done;
      case 'detach-dead':
        if (place.judgement !== DEAD) return ending('refused', 'busy');
        place.mounts.pop();
        return done;
      case 'remove-leaf':
        if (place.mounts.length > 0 || place.directory !== 'empty') return ending('refused', 'busy');
        place.directory = 'absent';
        return done;
    }
  }

  #abort(volume: Volume): Judgement {
    const place = this.at(volume);
    if (place.judgement !== HUNG) throw new FairleadError('conflict', 'It does not hang.');
    place.judgement = DEAD;
    return DEAD;
  }

  #inventory(): Inventory {
    const items = [...this.places.keys()]
      .filter((leaf) => this.places.get(leaf)?.directory !== 'absent')
      .map((leaf): InventoryItem => {
        const seen = this.#look({ leaf }, null);
        const known = KNOWN.find((volume) => volume.leaf === leaf);
        const proven = known !== undefined && seen.mounts.at(-1)?.recognised === true;
        return { ...seen, backend: 'quobyte', ...(proven ? { url: known.url } : {}) };
      });
    return { bootId: this.bootId, items: [...items, ...this.strangers] };
  }
}

/** Volumes that an inventory can name. */
export const KNOWN = ['vol', ...Array.from({ length: 200 }, (_, index) => `vol${index}`)].map(volumeOf);

function context(options: { deadlineMs?: number; signal?: AbortSignal }): RequestContext {
  return { deadlineMs: options.deadlineMs ?? 120_000, signal: options.signal ?? new AbortController().signal };
}

/** Follows a promise without waiting for it. */
export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { promise, state: 'open' };
  promise.then(
    (value) => Object.assign(watched, { state: 'kept', value }),
    (error: unknown) => Object.assign(watched, { state: 'broken', error }),
  );
  return watched;
}

/** The code of what broke a promise. */
export function codeOf(watched: Watched<unknown>): string {
  if (watched.state !== 'broken') return watched.state;
  return watched.error instanceof FairleadError ? watched.error.code : 'not from the closed list';
}

function forever<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}

function wordOf(change: Change): string {
  switch (change.kind) {
    case 'put-mount':
      return `put-mount:${change.mount.state}`;
    case 'put-operation': {
      const { kind, steps, cursor } = change.operation;
      return `put-operation:${kind}@${steps[cursor]?.kind ?? 'end'}`;
    }
    default:
      return change.kind;
  }
}

function snapshotOf(state: State): LedgerSnapshot {
  return {
    origin: 'existing',
    mounts: [...state.mounts.values()],
    attachments: [...state.leaves()].flatMap((leaf) => state.attachmentsOf(leaf)),
    holds: [...state.holds.values()],
    operations: [...state.operations.values()],
    setAside: [],
  };
}

/** A mount's record. */
export function recorded(state: MountRecord['state'], bootId = 'boot-1', volume = VOLUME): Change {
  return { kind: 'put-mount', mount: { volume, state, bootId } };
}

/** An attachment's record. */
export function attached(consumer = ALICE, volume = VOLUME): Change {
  return {
    kind: 'put-attachment',
    attachment: {
      id: `${volume.leaf} ${consumer}`,
      consumer,
      leaf: volume.leaf,
      disk: null,
      target: null,
      readOnly: false,
      since: '',
    },
  };
}

/** A hold's record. */
export function held(volume = VOLUME): Change {
  return { kind: 'put-hold', hold: { leaf: volume.leaf, reason: 'inherited', since: '' } };
}

/** An operation that was cut off at its first of `steps`. */
export function cutOff(
  kind: OperationRecord['kind'],
  steps: readonly StepKind[],
  mountBegun: boolean,
  volume = VOLUME,
): Change {
  return {
    kind: 'put-operation',
    operation: {
      id: volume.leaf as string as OperationId,
      kind,
      volume,
      steps: steps.map((step) => ({ kind: step })),
      cursor: 0,
      mountBegun,
      since: '',
    },
  };
}

/** What a commit does when the state disk is full. */
export function diskFull(): never {
  throw new FairleadError('resource-exhausted', 'The state disk is full.', { field: 'state_dir' });
}

/** A call that never ends. */
export function hanging(): Promise<never> {
  return forever();
}

// A small machine for tests of what the broker refuses: tables that a test writes, helpers and probes that do what it
// says, and a list of every effect that was asked for. What real ones do is tested with real ones.

import { argumentVector } from '../../../src/core/argv.js';
import type { MountEntry } from '../../../src/core/mountinfo.js';
import type { LeafState, UnitState } from '../../../src/core/observation.js';
import { createContext, type BrokerSettings, type Context } from '../../../src/broker/context.js';
import { systemClock } from '../../../src/sys/clock.js';
import type {
  DirectoryFacts,
  HelperEnd,
  HelperSpec,
  Machine,
  ProbeAnswer,
  ProbeChild,
  ProbeJob,
} from '../../../src/sys/ports.js';

export const BASE = '/srv/base';
export const LOCAL_BASE = '/srv/local';
/** 192.168.1.1/volume-00001, as in Nova's own documentation. */
export const URL = 'quobyte://192.168.1.1/volume-00001';
export const LEAF = 'c94ed34ada0acf45c1213beb1fc52ce6';
export const MOUNTPOINT = `${BASE}/${LEAF}`;
export const AGENT_UID = 990;

const COMMON = {
  mountTimeoutMs: 2000,
  probeTimeoutMs: 100,
  hardening: { nosuid: true, nodev: true, noexec: true, nosymfollow: true },
  accessUid: 0,
  accessGid: 0,
  driverCache: 'none',
  driverIo: 'native',
};

export const SETTINGS: BrokerSettings = {
  agentUid: AGENT_UID,
  trustedBaseOwners: [],
  backends: {
    quobyte: {
      ...COMMON,
      mountBase: BASE,
      mountHelper: '/usr/sbin/mount.quobyte',
      unmountHelper: null,
      clientConfig: null,
      registries: [],
      rootSize: 'warn',
    },
    local: { ...COMMON, mountBase: LOCAL_BASE, roots: ['/srv/pool'] },
  },
};

let nextId = 100;

export function entry(over: Partial<MountEntry> = {}): MountEntry {
  const mountId = nextId++;
  return {
    mountId,
    parentId: 1,
    dev: `0:${mountId}`,
    root: '/',
    mountPoint: MOUNTPOINT,
    options: ['rw', 'nosuid', 'nodev', 'noexec', 'nosymfollow'],
    tags: ['shared:1'],
    fsType: 'fuse.quobyte',
    source: 'quobyte@192.168.1.1/volume-00001',
    superOptions: ['rw', 'user_id=0', 'group_id=0'],
    ...over,
  };
}

export function healthy(): Extract<ProbeAnswer, { readonly kind: 'probe' }> {
  const root = { isDirectory: true, size: 0, dev: '0:1', mode: 0o755 };
  const facts = { statfs: { end: 'answered' }, root, write: 'granted', search: 'granted', witness: 'present' } as const;
  return { kind: 'probe', facts, disks: [] };
}

export function failing(errno: string): ProbeAnswer {
  const facts = {
    statfs: { end: 'failed', errno },
    write: 'not-asked',
    search: 'not-asked',
    witness: 'not-asked',
  } as const;
  return { kind: 'probe', facts, disks: [] };
}

export class FakeChild implements ProbeChild {
  readonly pid: number;
  readonly posted: { readonly id: number; readonly job: ProbeJob }[] = [];
  killed = false;
  /** Somebody stopped it: it answers nothing at all. */
  stopped = false;
  #answer: (id: number, answer: ProbeAnswer) => void = () => undefined;
  #exit: () => void = () => undefined;
  readonly #machine: FakeMachine;

  constructor(machine: FakeMachine, pid: number) {
    this.#machine = machine;
    this.pid = pid;
  }

  post(id: number, job: ProbeJob): void {
    this.posted.push({ id, job });
    this.#machine.effects.push(effectOf(job));
    const answer = this.#machine.answer(job);
    if (answer !== 'hang') queueMicrotask(() => this.reply(id, answer));
  }

  reply(id: number, answer: ProbeAnswer): void {
    this.#answer(id, answer);
  }

  onAnswer(listener: (id: number, answer: ProbeAnswer) => void): void {
    this.#answer = listener;
  }

  onExit(listener: () => void): void {
    this.#exit = listener;
  }

  ping(answered: () => void): void {
    if (!this.stopped) queueMicrotask(answered);
  }

  kill(): void {
    this.killed = true;
    if (!this.#machine.childrenAreStuck) this.die();
  }

  die(): void {
    queueMicrotask(() => this.#exit());
  }
}

function effectOf(job: ProbeJob): string {
  switch (job.kind) {
    case 'unmount':
      return `umount ${job.mode} ${job.base === '/' ? '' : job.base}/${job.leaf}`;
    case 'bind':
      return `bind ${job.source}`;
    default:
      return job.kind;
  }
}

export class FakeMachine implements Machine {
  readonly clock = systemClock;
  bootId = '0d6c4f3e-0000-4000-8000-000000000001';
  /** Everything that would change the world, and every probe, in order. */
  readonly effects: string[] = [];
  mountsNow: MountEntry[] = [];
  readonly leaves = new Map<string, LeafState>();
  readonly chains = new Map<string, readonly DirectoryFacts[]>();
  readonly unitStates = new Map<string, UnitState>();
  readonly children: FakeChild[] = [];
  childrenAreStuck = false;
  unitsAreStuck = false;
  /** What aborting a connection does. */
  abortion: () => 'aborted' | 'other' | 'not-mounted' = () => 'aborted';
  /** What a helper does. */
  helper: (spec: HelperSpec) => Promise<HelperEnd> = () => Promise.resolve({ end: 'exited', status: 0, output: '' });
  answer: (job: ProbeJob) => ProbeAnswer | 'hang' = (job) => this.#answered(job);

  readonly table: Machine['table'] = {
    at: (path) => this.mountsNow.filter(({ mountPoint }) => mountPoint === path),
    below: (path) => this.mountsNow.filter(({ mountPoint }) => mountPoint.startsWith(path === '/' ? '/' : `${path}/`)),
    has: ({ mountId, dev }) => this.mountsNow.some((one) => one.mountId === mountId && one.dev === dev),
    forget: () => undefined,
    revision: 0,
    change: () => new Promise(() => undefined),
  };
  readonly directories: Machine['directories'] = {
    chain: (path) => this.chains.get(path) ?? soundChain(path),
    isMounted: (base, leaf) => this.table.at(`${base}/${leaf}`).length > 0,
    leafState: (base, leaf) => this.leaves.get(`${base}/${leaf}`) ?? 'absent',
    makeLeaf: (base, leaf) => {
      this.effects.push(`mkdir ${base}/${leaf}`);
      if (this.leaves.has(`${base}/${leaf}`)) return 'exists';
      this.leaves.set(`${base}/${leaf}`, 'empty');
      return 'made';
    },
    removeLeaf: (base, leaf) => {
      this.effects.push(`rmdir ${base}/${leaf}`);
      const state = this.leaves.get(`${base}/${leaf}`) ?? 'absent';
      if (state === 'absent') return 'absent';
      if (state !== 'empty') return 'not-empty';
      this.leaves.delete(`${base}/${leaf}`);
      return 'removed';
    },
    list: (base) =>
      [...this.leaves.keys()].filter((path) => path.startsWith(`${base}/`)).map((p) => p.slice(base.length + 1)),
  };
  readonly mounts: Machine['mounts'] = {
    harden: (base, leaf, dev) => {
      this.effects.push(`harden ${base}/${leaf}`);
      this.mountsNow = this.mountsNow.map((one) =>
        one.dev === dev ? { ...one, options: ['rw', 'nosuid', 'nodev', 'noexec', 'nosymfollow'] } : one,
      );
      return 'hardened';
    },
    abort: (base, leaf) => {
      this.effects.push(`abort ${base}/${leaf}`);
      return this.abortion();
    },
  };
  readonly units: Machine['units'] = {
    way: () => Promise.resolve('service'),
    start: (spec) => {
      this.effects.push(`start ${spec.program} ${argumentVector(spec.args).join(' ')}`);
      return this.helper(spec);
    },
    state: (unit) => Promise.resolve(this.unitStates.get(unit) ?? 'idle'),
    kill: (unit) => {
      this.effects.push(`kill ${unit}`);
      if (this.unitsAreStuck) return Promise.resolve('alive');
      this.unitStates.delete(unit);
      return Promise.resolve('gone');
    },
    list: (prefix) => Promise.resolve([...this.unitStates.keys()].filter((name) => name.startsWith(prefix))),
  };
  readonly probeChildren: Machine['probeChildren'] = {
    start: () => {
      const child = new FakeChild(this, 10_000 + this.children.length);
      this.children.push(child);
      return child;
    },
  };
  readonly processLimit = (): string => 'pids.max is 7';
  readonly processes: Machine['processes'] = {
    runs: ({ pid }) => this.running.has(pid),
    holding: () => Promise.resolve({ holders: [], complete: true }),
  };
  /** Processes that run, besides probe children. */
  readonly running = new Set<number>();
  /** Mounts in other namespaces. */
  elsewhere: MountEntry[] = [];
  /** Superblocks that live on although no table of ours shows them. */
  readonly hidden = new Set<string>();
  /** Directories that are not the ones that they were: null, none any more. */
  readonly inodes = new Map<string, string | null>();
  /** Which of the kernel's records of superblocks is read. */
  record = 'record';
  /** Grows when a number is given to another superblock. */
  readonly entries = new Map<string, string>();
  readonly namespaces: Machine['namespaces'] = { mounts: (isWanted) => this.elsewhere.filter(isWanted) };
  readonly superblocks: Machine['superblocks'] = {
    at: (dev) => {
      const isThere = this.hidden.has(dev) || this.mountsNow.some((one) => one.dev === dev && isFuse(one));
      return isThere ? { dev, record: this.record, entry: this.entries.get(dev) ?? dev } : 'none';
    },
    all: () =>
      [...new Set([...this.hidden, ...this.mountsNow.filter(isFuse).map(({ dev }) => dev)])].map((dev) => ({
        dev,
        record: this.record,
        entry: this.entries.get(dev) ?? dev,
      })),
  };
  readonly written = new Map<string, string>();
  /** What writing a note throws, if it does. */
  noRoom: Error | null = null;
  readonly notes: Machine['notes'] = {
    all: () => new Map(this.written),
    write: (name, text) => {
      if (this.noRoom !== null) throw this.noRoom;
      this.written.set(name, text);
    },
    remove: (name) => void this.written.delete(name),
  };
  readonly uptime = (): number => performance.now();

  #answered(job: ProbeJob): ProbeAnswer {
    switch (job.kind) {
      case 'probe':
        return { ...healthy(), disks: job.disks.map(() => ({ state: 'regular' })) };
      case 'disk':
        return { kind: 'disk', state: 'regular' };
      case 'identify':
        return identified(this, job);
      case 'bind':
        return { kind: 'bind', end: 'source-absent' };
      case 'unmount':
        return this.#unmounted(job);
    }
  }

  #unmounted(job: Extract<ProbeJob, { readonly kind: 'unmount' }>): ProbeAnswer {
    const path = `${job.base === '/' ? '' : job.base}/${job.leaf}`;
    const top = this.table.at(path).at(-1);
    if (top === undefined) return { kind: 'unmount', errno: 'EINVAL' };
    this.mountsNow = this.mountsNow.filter((one) => one !== top);
    return { kind: 'unmount', errno: null };
  }
}

function isFuse({ fsType }: MountEntry): boolean {
  return fsType.startsWith('fuse');
}

/** What the kernel says of a bind: a directory's inode is the path that it had when it was made. */
export function identified(
  { table, inodes }: FakeMachine,
  { source, base, leaf }: Extract<ProbeJob, { readonly kind: 'identify' }>,
): ProbeAnswer {
  const top = table.at(`${base}/${leaf}`).at(-1);
  const known = inodes.get(source);
  const inode = known === undefined ? source : known;
  return {
    kind: 'identify',
    source: inode === null ? null : { dev: '8:1', inode },
    mounted: top === undefined ? null : { dev: top.dev, inode: top.root, mountId: top.mountId, unique: null },
  };
}

export function soundChain(path: string): readonly DirectoryFacts[] {
  const parts = path.split('/').filter((part) => part !== '');
  const paths = ['/', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)];
  return paths.map((one) => ({ path: one, kind: 'directory', uid: 0, gid: 0, mode: 0o755 }));
}

export interface Bench {
  readonly machine: FakeMachine;
  readonly context: Context;
  readonly warnings: string[];
}

export function bench(settings: Partial<BrokerSettings> = {}): Bench {
  return on(new FakeMachine(), settings);
}

/** The next broker on the same machine, after another boot if `bootId` is given. */
export function restarted({ machine }: Bench, bootId: string = machine.bootId): Bench {
  machine.bootId = bootId;
  return on(machine, {});
}

function on(machine: FakeMachine, settings: Partial<BrokerSettings>): Bench {
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (event: string) => void warnings.push(event) };
  const context = createContext({ machine, settings: { ...SETTINGS, ...settings }, log, reach: () => undefined });
  return { machine, context, warnings };
}

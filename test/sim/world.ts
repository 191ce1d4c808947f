// Everything that one run consists of, put together from its seed: the host, the state disk, both processes, clients, the
// adversary, the independent truth and the judges. What happens in it is simulate.ts's business.

import { parseVolume } from '../../src/backends/registry.js';
import { BACKEND_NAMES, type Volume } from '../../src/core/volume.js';
import { Adversary } from './adversary.js';
import { Callers } from './callers.js';
import { StateDisk } from './disk.js';
import { Domains } from './domains.js';
import { EffectJudge, type Fail } from './effects.js';
import { History } from './history.js';
import type { Mount } from './kernel.js';
import { Host } from './machine.js';
import { chanceOf, type Chance } from './prng.js';
import { Processes, type Makers } from './processes.js';
import { PROFILES, type Profile } from './profiles.js';
import { ReplyJudge } from './replies.js';
import { Scheduler } from './scheduler.js';
import { isLiving, type Superblock } from './superblocks.js';
import { Truth } from './truth.js';

/** Where volumes are mounted in the simulated world. */
export const BASES = { quobyte: '/var/lib/fairlead/mnt/quobyte', local: '/var/lib/fairlead/mnt/local' } as const;
/** Where local volumes lie. */
export const LOCAL_ROOT = '/srv/pool';

const VOLUMES: readonly Volume[] = [
  'quobyte://reg1:7861,reg2:7861/vol-a',
  'quobyte://reg1/vol-b',
  'quobyte://192.168.1.1/vol-c',
  `local://${LOCAL_ROOT}/p/d`,
].map((url) => parseVolume(url));
/** The leaf of the local one. */
export const LOCAL_LEAF = VOLUMES[3]!.leaf;

/** Share of runs with crowds of leaves in which something lies, and their number. */
const CROWDED = 0.02;
const CROWD = 4000;

/** Milliseconds between the last look for those who use a mount and the end of its hold: searches are slow, and disks. */
const LOOK_TO_LIFT_MS = 12_000;

/** How a run is to be made. */
export interface Options {
  readonly makers: Makers;
  /** `lines`: keep the whole trace. */
  readonly trace: 'lines' | 'hash-only';
  /** Name of the profile; by default the seed draws one. */
  readonly profile?: string;
}

/** An invariant that broke. */
export interface Violation {
  readonly invariant: string;
  readonly what: string;
  readonly step: number;
}

/** One world. */
export class World {
  readonly profile: Profile;
  readonly chance: Chance;
  readonly scheduler: Scheduler;
  readonly host: Host;
  readonly disk: StateDisk;
  readonly truth = new Truth();
  readonly histories: readonly History[];
  readonly effects: EffectJudge;
  readonly replies: ReplyJudge;
  readonly processes: Processes;
  readonly callers: Callers;
  readonly adversary: Adversary;
  readonly domains: Domains;
  violation: Violation | null = null;
  /** The last step at which a superblock was there that our mount table does not show. */
  #unplacedUntil = -1;

  constructor(seed: number, options: Options) {
    const chance = chanceOf(seed);
    this.chance = chance;
    this.profile = PROFILES.find(({ name }) => name === options.profile) ?? chance.pick(PROFILES);
    const scheduler = new Scheduler(chance.fork(), options.trace);
    const host = new Host(scheduler, chance.fork());
    const disk = new StateDisk(scheduler, chance.fork(), options.makers.openStore);
    disk.copied = this.profile.troubles['state-put-back'] !== undefined;
    this.scheduler = scheduler;
    this.host = host;
    this.disk = disk;
    for (const name of BACKEND_NAMES) host.tree.plant(BASES[name], 0o711);
    host.tree.plant(`${LOCAL_ROOT}/p/d`, 0o755);
    this.histories = VOLUMES.map(
      (volume) => new History(volume, `${BASES[volume.backend]}/${volume.leaf}`, host.kernel, host.tree, scheduler),
    );
    const byPoint = new Map(this.histories.map((history) => [history.mountPoint, history]));
    const byLeaf = new Map<string, History>(this.histories.map((history) => [history.volume.leaf, history]));
    for (const history of this.histories) history.processes = () => host.services.doings(history.mountPoint);
    host.kernel.changed = (mountPoint, by) => {
      byPoint.get(mountPoint)?.record(by);
      this.#noteDoubts();
    };
    host.tree.moved = () => {
      for (const history of this.histories) if (history.volume.backend === 'local') history.record('stranger');
    };
    this.effects = new EffectJudge(
      this.truth,
      byPoint,
      host.kernel,
      Object.values(BASES),
      this.fail,
      () => scheduler.now,
    );
    this.effects.isDoubtful = (mountPoint, step) => this.isDoubtful(byPoint.get(mountPoint), step);
    host.kernel.observe = (effect) => this.effects.judge(effect);
    this.replies = new ReplyJudge(this.truth, byLeaf, (history, step) => this.isDoubtful(history, step), this.fail);
    host.probes.metStopped = () => {
      this.replies.lastStop = scheduler.now;
    };
    const disturbed = (): void => {
      this.replies.lastDisturbance = scheduler.now;
    };
    const common = { scheduler, host, disk, truth: this.truth, disturbed };
    const policy = Domains.policyOf(chance.fork());
    this.processes = new Processes({
      ...common,
      evidence: policy,
      chance: chance.fork(),
      makers: options.makers,
      onOddError: (what) => this.fail('I6', `an unforeseen error: ${what}`),
      onLogged: (event, fields) => {
        if (event === 'hold-lifted') this.#lifted(byLeaf.get(String(fields['leaf']))!, String(fields['by']));
      },
      onHangUp: (by) => this.fail('I5', `${by} ended the connection, for all who wait for an answer`),
      onAgentGone: (life) => this.callers.agentGone(life),
    });
    this.callers = new Callers({
      ...common,
      chance: chance.fork(),
      processes: this.processes,
      kernel: host.kernel,
      judge: this.replies,
      volumes: VOLUMES,
      histories: byLeaf,
    });
    host.services.notesAreWhole = () => host.notes.isWhole;
    if (chance.once(CROWDED)) for (const base of Object.values(BASES)) host.tree.crowd(base, CROWD);
    const spared = this.histories.slice(0, { calm: VOLUMES.length, volumes: 1 }[this.profile.name] ?? 0);
    for (const { volume } of spared) this.replies.calmLeaves.add(volume.leaf);
    this.adversary = new Adversary({
      ...common,
      chance: chance.fork(),
      processes: this.processes,
      judge: this.effects,
      targets: this.histories.filter((history) => !spared.includes(history)),
      bases: Object.values(BASES),
      profile: this.profile,
    });
    this.domains = new Domains({
      ...common,
      kernel: host.kernel,
      chance: chance.fork(),
      processes: this.processes,
      histories: this.histories,
      policy,
    });
    this.effects.isKnowable = this.#isKnowable;
    this.replies.isKnowable = this.#isKnowable;
    this.effects.mayGo = (mount) => this.domains.mayGo(mount);
  }

  /** A hold has ended: it must not while somebody is known to use the mount. */
  #lifted(history: History, by: string): void {
    const { kernel } = this.host;
    const mounts = kernel.at(history.mountPoint).filter(({ serves }) => serves === history.volume.export);
    if (by === 'evidence' && this.disk.records().setAside.length > 0)
      this.fail('I1', `evidence lifted the hold of ${history.volume.leaf.slice(0, 6)} although records may be missing`);
    // What keeps a mount by the operator's word is not kept any more.
    const isKept = ({ superblock, serves }: Mount): boolean =>
      superblock.home === history.mountPoint && serves === history.volume.export;
    if (by === 'operator')
      for (const mount of [...mounts, ...kernel.mounts.filter(isKept)]) this.effects.kept.delete(mount);
    // Where somebody is attached the mount stays anyway.
    if (this.disk.records().attachments.some(({ leaf }) => leaf === history.volume.leaf)) return;
    for (const { holder, of, began } of kernel.users.uses) {
      if (holder !== null && mounts.includes(of) && began < this.scheduler.now - LOOK_TO_LIFT_MS)
        this.fail('I1', `the hold of ${history.volume.leaf.slice(0, 6)} was lifted, which ${holder.command} uses`);
    }
    if (by === 'operator' && mounts.length > 0 && this.domains.unreadSince < this.scheduler.now)
      this.fail(
        'I1',
        `the hold of ${history.volume.leaf.slice(0, 6)} was lifted, although nobody has read the domains`,
      );
    const shownSince = this.domains.shownSince(history.volume.leaf);
    if (by === 'operator' && shownSince < this.scheduler.now - LOOK_TO_LIFT_MS)
      this.fail('I1', `the hold of ${history.volume.leaf.slice(0, 6)} was lifted, which a domain uses`);
  }

  /**
   * Without the kernel's record, or once a note is lost, nobody can tell that a client is still there which is in no unit
   * of ours, or in one that is not seen.
   */
  readonly #isKnowable = ({ maker }: Superblock): boolean => {
    const { kernel, notes, services } = this.host;
    if (kernel.superblocks.isReadable && notes.isWhole) return true;
    return maker === 'fairlead' && services.way !== 'group';
  };

  /**
   * Whether Fairlead may have been unable to tell, at some moment since that step, that a superblock of the leaf is gone:
   * without the record or its notes, from a record that another life of the broker has read, beside one that is hidden, or another one at the leaf.
   */
  isDoubtful(history: History | undefined, step: number): boolean {
    const { kernel, notes } = this.host;
    if (!kernel.superblocks.isReadable || !notes.isWhole || this.#unplacedUntil >= step) return true;
    if (history === undefined) return false;
    return history.strangeUntil >= step || (this.processes.brokerStarts > 1 && history.reusedUntil >= step);
  }

  /**
   * A superblock that no broker has written down, or whose note went with its death, may be that of any client of which
   * nothing was seen yet, unless it is mounted as a volume at that volume's leaf and nowhere else.
   */
  #noteDoubts(): void {
    const { superblocks, mounts, users } = this.host.kernel;
    const homes = new Map(this.histories.map(({ mountPoint, volume }) => [mountPoint, volume.export as string]));
    const placed = new Set<Superblock>();
    const astray = new Set([...users.copies].map(({ mount }) => mount.superblock));
    for (const { superblock, mountPoint, serves, owner, isPart } of mounts) {
      const isAtHome = serves !== null && homes.get(mountPoint) === serves && owner === 0 && !isPart;
      (isAtHome ? placed : astray).add(superblock);
    }
    const isUnplaced = [...superblocks.all].some(
      (one) => one.kind === 'fuse' && (!one.wasNoted || !isLiving(one)) && (astray.has(one) || !placed.has(one)),
    );
    if (isUnplaced) this.#unplacedUntil = Infinity;
    else if (this.#unplacedUntil === Infinity) this.#unplacedUntil = this.scheduler.steps;
    for (const history of this.histories) history.noteDoubts(superblocks.all, this.scheduler.steps);
  }

  /** Writes down the first invariant that breaks; everything after it is aftermath. */
  readonly fail: Fail = (invariant, what) => {
    if (this.violation !== null) return;
    this.violation = { invariant, what, step: this.scheduler.steps };
    this.scheduler.note(`VIOLATION ${invariant}: ${what}`);
  };
}

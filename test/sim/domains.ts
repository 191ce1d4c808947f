// The simulated host's virtual machines, and the surveys that tell the agent of them: sometimes late, incomplete or missing. Domains
// come, go and change their disks without asking anybody. What may be concluded is worked out here once more, from what was true when
// each survey was read, whatever the survey then said: the judges hold the engine against that.

import type { Domain, DomainUuid, Survey } from '../../src/core/domains.js';
import type { Volume } from '../../src/core/volume.js';
import type { EvidencePolicy } from '../../src/engine/ports.js';
import type { History } from './history.js';
import type { Kernel, Mount } from './kernel.js';
import type { Processes } from './processes.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';
import type { Call, Key, Truth } from './truth.js';

/** Milliseconds for which evidence must have been the same. */
const AGE_MS = 5000;
/** Milliseconds between two surveys in the troubled part, and afterwards. */
const SURVEY_MS = 900;
const CALM_SURVEY_MS = 6000;
/** Mean milliseconds between two changes of a domain. */
const PACE_MS = 2500;
/** Milliseconds for which a domain cannot be read, at most. */
const HANG_MS = 12_000;

const UUIDS = ['0b7d1e4a-6f52-4c3b-9a51-2f1f0c9d8e77', '11111111-2222-4333-8444-555555555555'] as DomainUuid[];
const DISKS = ['disk-1', 'new-1', 'of-nobody'] as const;

/** One virtual machine. */
interface Machine {
  running: boolean;
  /** Milliseconds until which libvirt cannot tell of it: its monitor hangs. */
  hangsUntil: number;
  /** Files that it has, as its XML spells them, and the leaf and name that they are. */
  readonly files: Map<string, { readonly leaf: string; readonly name: string }>;
}

/** Deliveries of surveys, in one life of the agent, at whose reading something was not used; the times are of the delivery. */
interface Idle {
  times: number[];
  /** What the last complete one said. */
  told: 'no-domain' | 'unused' | null;
}

/** The virtual machines of one run. */
export class Domains {
  readonly policy: EvidencePolicy;
  /** Grows whenever a survey was delivered. */
  version = 0;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #kernel: Kernel;
  readonly #processes: Processes;
  readonly #truth: Truth;
  readonly #histories: readonly History[];
  readonly #machines = new Map<DomainUuid, Machine>();
  #life: Life | null = null;
  #idleMounts = new Map<Mount, Idle>();
  #idleKeys = new Map<Key, Idle>();
  readonly #mayGo = new Set<Mount>();
  /** Since when every survey that was told to this life of the agent shows that a domain uses the leaf, milliseconds. */
  readonly #shownSince = new Map<string, number>();
  #resting = false;

  constructor(parts: {
    scheduler: Scheduler;
    chance: Chance;
    kernel: Kernel;
    processes: Processes;
    truth: Truth;
    histories: readonly History[];
    policy: EvidencePolicy;
  }) {
    this.#scheduler = parts.scheduler;
    this.#chance = parts.chance;
    this.#kernel = parts.kernel;
    this.#processes = parts.processes;
    this.#truth = parts.truth;
    this.#histories = parts.histories;
    this.policy = parts.policy;
  }

  /** What this run's agents are told to do. */
  static policyOf(chance: Chance): EvidencePolicy {
    return {
      liftHolds: chance.once(0.75) ? 'evidence' : 'operator',
      orphans: chance.once(0.5) ? 'release' : 'report',
      ageMs: AGE_MS,
      isExpected: true,
    };
  }

  /** Lets domains come and go, and surveys be made. */
  run(): void {
    for (let begun = this.#chance.int(0, 6); begun > 0; begun -= 1) this.#change();
    this.#changes();
    this.#survey();
  }

  /** From now on nothing changes, and every survey is whole. */
  rest(): void {
    this.#resting = true;
    for (const machine of this.#machines.values()) machine.hangsUntil = 0;
  }

  /** All domains go. */
  end(): void {
    this.#machines.clear();
  }

  /** Whether evidence may have let this mount go, although it is kept for somebody. */
  mayGo(mount: Mount): boolean {
    return this.policy.liftHolds === 'evidence' && this.#mayGo.has(mount);
  }

  /** Since when the agent knows that a domain uses the leaf, milliseconds; Infinity: it does not. */
  shownSince(leaf: string): number {
    return this.#processes.agent === this.#life ? (this.#shownSince.get(leaf) ?? Infinity) : Infinity;
  }

  /** In which way the attachment may be shown as an orphan, or null. */
  orphanhoodOf(key: Key): 'no-domain' | 'unused' | null {
    const idle = this.#idleKeys.get(key);
    if (idle === undefined) return null;
    const connected = this.#lastConnect(key);
    const times = idle.times.filter((at) => connected === undefined || at >= connected.beganAt);
    return isAged(times) ? idle.told : null;
  }

  #lastConnect(key: Key): Call | undefined {
    return this.#truth.callsOf(key).findLast((call) => call.kind === 'connect' && call.end?.how === 'reply');
  }

  #changes(): void {
    const pause = -Math.log(1 - this.#chance.next()) * PACE_MS;
    this.#scheduler.after(null, pause, 'domains', () => {
      if (this.#resting) return;
      this.#change();
      this.#changes();
    });
  }

  #change(): void {
    const uuid = this.#chance.pick(UUIDS);
    const machine = this.#machines.get(uuid);
    if (machine === undefined) {
      this.#machines.set(uuid, { running: this.#chance.once(0.5), hangsUntil: 0, files: new Map() });
      this.#scheduler.note(`domain ${uuid.slice(0, 4)} is defined`);
    } else if (this.#chance.once(0.2)) {
      this.#machines.delete(uuid);
      this.#scheduler.note(`domain ${uuid.slice(0, 4)} is undefined`);
    } else if (this.#chance.once(0.15)) {
      machine.hangsUntil = this.#scheduler.now + this.#chance.int(500, HANG_MS);
      this.#scheduler.note(`domain ${uuid.slice(0, 4)} cannot be read`);
    } else if (machine.files.size > 0 && this.#chance.once(0.45)) {
      const file = this.#chance.pick([...machine.files.keys()]);
      machine.files.delete(file);
      this.#scheduler.note(`domain ${uuid.slice(0, 4)} loses ${file.slice(-12)}`);
    } else {
      const { mountPoint, volume } = this.#chance.pick(this.#histories);
      const name = this.#chance.pick(DISKS);
      const file = `${this.#chance.once(0.2) ? `/mnt/alias/${volume.leaf}` : mountPoint}/${name}`;
      machine.files.set(file, { leaf: volume.leaf, name });
      this.#scheduler.note(`domain ${uuid.slice(0, 4)} gets ${file.slice(-12)}`);
    }
  }

  #survey(): void {
    const pause = this.#resting ? CALM_SURVEY_MS : SURVEY_MS;
    this.#scheduler.after(null, pause, 'surveyor', () => {
      const { agent } = this.#processes;
      if (agent?.ready !== true) {
        this.#survey();
        return;
      }
      const read = this.#read();
      const late = !this.#resting && this.#chance.once(0.1);
      this.#scheduler.after(null, this.#chance.int(0, late ? 3000 : 20), 'surveyor: tells', () => {
        if (agent.alive) {
          this.#learn(agent, read);
          agent.engine.takeEvidence(read.survey);
        }
        this.#survey();
      });
    });
  }

  /** What a survey says, and what was true when it was read. */
  #read(): { readonly survey: Survey | null; readonly truth: ReadonlyMap<DomainUuid, Machine> } {
    const truth = new Map([...this.#machines].map(([uuid, one]) => [uuid, { ...one, files: new Map(one.files) }]));
    const way = this.#resting ? 'complete' : this.#chance.weighted({ complete: 8, incomplete: 1, missing: 1 });
    if (way === 'missing') return { survey: null, truth };
    const readable = [...truth].filter(([, one]) => one.hangsUntil <= this.#scheduler.now);
    const all = readable.map(([uuid, one]) => this.#domain(uuid, one));
    if (way === 'complete') return { survey: { domains: all, complete: readable.length === truth.size }, truth };
    const domains = all
      .filter(() => this.#chance.once(0.5))
      .map((one) => ({ ...one, disks: one.disks.filter(() => this.#chance.once(0.7)) }));
    return { survey: { domains, complete: false }, truth };
  }

  /** Some of its files are disks, some are what a disk rests on. */
  #domain(uuid: DomainUuid, { running, files }: Machine): Domain {
    const sources = [...files.keys()].map((path) => ({ path, isDisk: this.#chance.once(0.7) }));
    const disks = sources
      .filter(({ isDisk }) => isDisk)
      .map(({ path }, index) => ({
        target: `vd${'bcdefghijklm'[index] ?? 'z'}`,
        bus: 'virtio',
        path,
        format: 'raw',
        readOnly: false,
        serial: null,
        live: running,
        persistent: true,
      }));
    const otherFiles = sources.filter(({ isDisk }) => !isDisk).map(({ path }) => path);
    return { uuid, name: uuid.slice(0, 4), running, disks, otherFiles, remembered: [] };
  }

  /** What follows from a survey if it said the truth. */
  #learn(life: Life, { survey, truth }: { survey: Survey | null; truth: ReadonlyMap<DomainUuid, Machine> }): void {
    this.version += 1;
    if (life !== this.#life) {
      this.#life = life;
      this.#idleMounts = new Map();
      this.#idleKeys = new Map();
      this.#shownSince.clear();
    }
    const files = [...truth.values()].flatMap((machine) => [...machine.files.values()]);
    const { now } = this.#scheduler;
    for (const { mountPoint, volume } of this.#histories) {
      const used = files.some(({ leaf }) => leaf === volume.leaf);
      if (!used || !tells(survey, volume.leaf)) this.#shownSince.delete(volume.leaf);
      else if (!this.#shownSince.has(volume.leaf)) this.#shownSince.set(volume.leaf, now);
      for (const mount of this.#kernel.at(mountPoint)) {
        if (used) this.#idleMounts.delete(mount);
        else this.#idleMounts.set(mount, longer(this.#idleMounts.get(mount), now, null));
        if (isAged(this.#idleMounts.get(mount)?.times ?? [])) this.#mayGo.add(mount);
      }
      for (const key of this.#truth.keysOf(volume)) this.#learnOfKey(key, volume, survey, truth);
    }
  }

  #learnOfKey(key: Key, { leaf }: Volume, survey: Survey | null, truth: ReadonlyMap<DomainUuid, Machine>): void {
    const [user, , disk] = key.split(' ') as [string, string, string];
    if (!user.startsWith('vm:')) return;
    const machine = truth.get(user.slice(3) as DomainUuid);
    const found = machine === undefined ? 'no-domain' : 'unused';
    // Another file on the leaf is a use too: it may be the disk under the name that a snapshot gave it.
    const used = machine !== undefined && (disk === '' || uses(machine, leaf));
    const known = this.#idleKeys.get(key);
    if (used && (survey?.complete === true || !isAged(known?.times ?? []) || shows(survey, user, leaf, disk))) {
      this.#idleKeys.delete(key);
      return;
    }
    // What is shown as an orphan stays so until a survey shows that it is used.
    if (used) return;
    const told = survey?.complete === true ? found : (known?.told ?? null);
    this.#idleKeys.set(key, longer(known, this.#scheduler.now, told));
    if (this.policy.orphans === 'release' && this.orphanhoodOf(key) !== null) {
      this.#truth.forfeit(key, this.#scheduler.steps);
    }
  }
}

function longer(idle: Idle | undefined, now: number, told: Idle['told']): Idle {
  return { times: [...(idle?.times ?? []), now], told };
}

function isAged(times: readonly number[]): boolean {
  return times.length > 1 && times.at(-1)! - times[0]! >= AGE_MS;
}

function uses(machine: Machine, leaf: string): boolean {
  return [...machine.files.values()].some((file) => file.leaf === leaf);
}

/** Whether some domain of the survey has a file there. */
function tells(survey: Survey | null, leaf: string): boolean {
  return survey?.domains.some((domain) => namesFileOn(domain, leaf)) === true;
}

function namesFileOn({ disks, otherFiles }: Domain, leaf: string): boolean {
  return [...disks.map(({ path }) => path), ...otherFiles].some((path) => path?.includes(`/${leaf}/`) === true);
}

/** Whether the survey itself shows the use. */
function shows(survey: Survey | null, user: string, leaf: string, disk: string): boolean {
  const domain = survey?.domains.find(({ uuid }) => user === `vm:${uuid}`);
  if (domain === undefined) return false;
  return disk === '' || namesFileOn(domain, leaf);
}

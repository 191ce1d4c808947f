// Everything that goes wrong: servers that hang, die and come back, strangers who mount and unmount, processes that
// crash, a state disk that is full or slow, a host that reboots. What it does is drawn from the seed's profile.

import { FairleadError } from '../../src/core/errors.js';
import type { Volume } from '../../src/core/volume.js';
import type { StateDisk } from './disk.js';
import type { EffectJudge } from './effects.js';
import type { History } from './history.js';
import { newServer, sourceOf, type Mount } from './kernel.js';
import type { Host } from './machine.js';
import type { Processes } from './processes.js';
import { BAD_MOODS, type Profile, type Trouble } from './profiles.js';
import type { Chance } from './prng.js';
import type { Scheduler } from './scheduler.js';
import { keyOf, type Key, type Truth } from './truth.js';

/** Milliseconds after which the operator looks once more: helpers that were at work are over by then. */
const OPERATOR_MS = 60_000;

/** The adversary of one run. */
export class Adversary {
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #host: Host;
  readonly #disk: StateDisk;
  readonly #processes: Processes;
  readonly #truth: Truth;
  readonly #judge: EffectJudge;
  readonly #targets: readonly History[];
  readonly #profile: Profile;
  readonly #disturbed: () => void;
  #resting = false;
  #nextPid = 9000;

  constructor(parts: {
    scheduler: Scheduler;
    chance: Chance;
    host: Host;
    disk: StateDisk;
    processes: Processes;
    truth: Truth;
    judge: EffectJudge;
    /** Leaves that it may touch. */
    targets: readonly History[];
    profile: Profile;
    disturbed: () => void;
  }) {
    this.#scheduler = parts.scheduler;
    this.#chance = parts.chance;
    this.#host = parts.host;
    this.#disk = parts.disk;
    this.#processes = parts.processes;
    this.#truth = parts.truth;
    this.#judge = parts.judge;
    this.#targets = parts.targets;
    this.#profile = parts.profile;
    this.#disturbed = parts.disturbed;
    const harmed = new Set(this.#targets.map(({ volume }) => volume.export as string));
    this.#host.services.moodOf = (exported) =>
      !this.#resting && harmed.has(exported) && this.#chance.once(this.#profile.badHelpers)
        ? this.#chance.weighted(BAD_MOODS)
        : 'prompt';
  }

  /** Begins, and goes on until it is told to rest. */
  run(): void {
    if (Object.keys(this.#profile.troubles).length === 0) return;
    this.#processes.crashAtPoints = this.#profile.crashAtPoints;
    const pause = -Math.log(1 - this.#chance.next()) * this.#profile.paceMs;
    this.#scheduler.after(null, pause, 'adversary', () => {
      if (this.#resting) return;
      const trouble = this.#chance.weighted(this.#profile.troubles as Record<Trouble, number>);
      this.#scheduler.note(`adversary: ${trouble}`);
      this.#make(trouble);
      this.run();
    });
  }

  /** Stops, and puts the world in order: what hung answers, strangers leave, everything is up again. */
  heal(): void {
    this.#resting = true;
    const { kernel, services, tree } = this.#host;
    this.#processes.crashAtPoints = 0;
    this.#processes.linkDown = false;
    this.#disk.full = false;
    this.#disk.readOnly = false;
    this.#disk.slowness = 3;
    services.ready = true;
    services.heal();
    for (const occupant of [...kernel.occupants]) kernel.leave(occupant);
    for (const mount of [...kernel.mounts, ...kernel.detached]) {
      if (mount.server === null || !this.#targets.some(({ mountPoint }) => mountPoint === mount.mountPoint)) continue;
      mount.server.rights = 'all';
      kernel.changed(mount.mountPoint, 'stranger');
      kernel.setServer(mount, 'answering', 'stranger');
      if (this.#chance.once(0.2)) services.crashDaemon(mount);
    }
    this.#operatorCleans();
    this.#scheduler.after(null, OPERATOR_MS, 'operator: looks once more', () => this.#operatorCleans());
    for (const history of this.#targets) {
      const node = tree.nodes.get(history.mountPoint);
      if (node !== undefined && (node.kind !== 'directory' || node.occupied)) tree.take(history.mountPoint);
    }
    this.#disturbed();
  }

  /** An operator unmounts what does not belong on our leaves: strangers' mounts, and what a wrong helper left. */
  #operatorCleans(): void {
    const { kernel } = this.#host;
    for (const { mountPoint, volume } of this.#targets) {
      for (const mount of kernel.at(mountPoint)) if (mount.serves !== volume.export) kernel.vanish(mount);
    }
  }

  #make(trouble: Trouble): void {
    const history = this.#chance.pick(this.#targets);
    const { kernel, services } = this.#host;
    const top = kernel.top(history.mountPoint);
    switch (trouble) {
      case 'hang':
        this.#server(top, 'never-read');
        return;
      case 'hang-answered':
        this.#server(top, 'never-answered');
        return;
      case 'stale':
      case 'failing':
        this.#server(top, trouble);
        return;
      case 'die':
        if (top !== undefined) services.crashDaemon(top);
        return;
      case 'recover':
        this.#server(top, 'answering');
        return;
      case 'rights':
        if (top !== undefined && top.server !== null)
          top.server.rights = this.#chance.pick(['all', 'read-only', 'none']);
        kernel.changed(history.mountPoint, 'stranger');
        return;
      case 'cover':
        this.#cover(history);
        return;
      case 'uncover':
        this.#uncover(history);
        return;
      case 'take-away':
        if (top !== undefined && kernel.unmount(history.mountPoint, 'plain', 'stranger') !== null) {
          kernel.unmount(history.mountPoint, 'detach', 'stranger');
        }
        return;
      case 'nova-mounts':
        this.#novaMounts(history);
        return;
      case 'operator-aborts':
        this.#operatorAborts(history);
        return;
      case 'visitor':
      case 'copy':
        this.#visit(top, trouble === 'copy' ? 'namespace' : 'directory');
        return;
      case 'junk':
        this.#junk(history);
        return;
      case 'broker-dies':
        this.#processes.crashBroker('by chance');
        return;
      case 'agent-dies':
        this.#processes.crashAgent('by chance');
        return;
      case 'both-die':
        this.#processes.crashBroker('by chance');
        this.#processes.crashAgent('by chance');
        return;
      case 'agent-stops':
        this.#processes.stopAgent();
        return;
      case 'cut':
        this.#disturbed();
        this.#processes.cutLink();
        return;
      case 'silence':
        this.#processes.silenceLink(this.#chance.int(100, 8000));
        return;
      case 'link-down':
        this.#processes.linkDown = true;
        this.#processes.cutLink();
        this.#forAWhile(() => (this.#processes.linkDown = false));
        return;
      case 'disk-full':
        this.#disk.full = true;
        this.#forAWhile(() => (this.#disk.full = false));
        return;
      case 'disk-read-only':
        this.#disk.readOnly = true;
        // An agent whose ledger has failed ends by itself once the disk is back, and is started anew.
        this.#forAWhile(() => {
          this.#disk.readOnly = false;
          if (!this.#resting) this.#processes.crashAgent('its ledger had failed');
        });
        return;
      case 'disk-slow':
        this.#disk.slowness = this.#chance.int(100, 5000);
        this.#forAWhile(() => (this.#disk.slowness = 3));
        return;
      case 'not-ready':
        services.ready = false;
        this.#forAWhile(() => (services.ready = true));
        return;
      case 'reboot':
        this.#processes.reboot();
        return;
      case 'ledger-lost':
      case 'state-put-back':
        // One at a time: what an agent has not opened cannot mislead it.
        if (this.#processes.agent?.ready !== true) return;
        if (trouble === 'ledger-lost') this.#loseLedger();
        else this.#putBackState();
        return;
      case 'mark-lost':
        this.#disk.loseMark();
        return;
    }
  }

  #forAWhile(undo: () => void): void {
    this.#disturbed();
    this.#scheduler.after(null, this.#chance.int(100, 6000), 'adversary: relents', () => {
      this.#disturbed();
      undo();
    });
  }

  #server(mount: Mount | undefined, state: 'never-read' | 'never-answered' | 'stale' | 'failing' | 'answering'): void {
    if (mount !== undefined) this.#host.kernel.setServer(mount, state, 'stranger');
  }

  /** Mounts something else on the leaf, sometimes with a source that claims to be the volume. */
  #cover(history: History): void {
    if (this.#host.tree.nodes.get(history.mountPoint)?.kind !== 'directory') return;
    const { export: exported } = history.volume;
    const forged = this.#chance.once(0.4);
    this.#host.kernel.mount({
      root: '/',
      mountPoint: history.mountPoint,
      fsType: 'tmpfs',
      source: forged ? `quobyte@${exported.split(',').join('|')}` : 'tmpfs',
      server: newServer(),
      serves: null,
      maker: 'stranger',
    });
  }

  #uncover({ mountPoint }: History): void {
    const { kernel } = this.#host;
    while (kernel.top(mountPoint)?.serves === null && kernel.unmount(mountPoint, 'plain', 'stranger') === null);
  }

  /** Nova's own driver mounts the right volume where nothing is mounted. */
  #novaMounts(history: History): void {
    const { kernel, tree } = this.#host;
    const { mountPoint, volume } = history;
    if (volume.backend !== 'quobyte' || kernel.top(mountPoint) !== undefined) return;
    const node = tree.nodes.get(mountPoint);
    if (node !== undefined && (node.kind !== 'directory' || node.occupied)) return;
    if (node === undefined) tree.put(mountPoint, { kind: 'directory', uid: 0, mode: 0o755, occupied: false });
    const records = this.#disk.records();
    const inMotion =
      records.operations.some((operation) => operation.volume.leaf === volume.leaf) ||
      records.mounts.some((mount) => mount.volume.leaf === volume.leaf) ||
      this.#truth.keysOf(volume).some((key) => this.#truth.mayBeAtWork(key, this.#scheduler.now));
    const mount = kernel.mount({
      root: '/',
      mountPoint,
      fsType: 'fuse.quobyte',
      source: sourceOf(volume.export),
      server: newServer(),
      serves: volume.export,
      maker: 'stranger',
    });
    // Found while an operation of ours is at work there, nobody can tell whose it is.
    if (!inMotion) this.#judge.kept.set(mount, 'Nova made it');
  }

  /** Without asking whether it hangs: that is for Fairlead to find out. */
  #operatorAborts({ volume }: History): void {
    const { agent } = this.#processes;
    if (agent?.ready !== true) return;
    const context = { deadlineMs: 10_000, signal: new AbortController().signal };
    agent.engine.abort(volume.leaf, context).catch((error: unknown) => {
      if (!(error instanceof FairleadError)) this.#processes.oddError(String(error));
    });
  }

  #visit(mount: Mount | undefined, by: 'directory' | 'namespace'): void {
    if (mount === undefined) return;
    const { kernel } = this.#host;
    const occupant = kernel.occupy(mount, { pid: this.#nextPid, command: 'sh', by });
    this.#nextPid += 1;
    this.#scheduler.after(null, this.#chance.int(100, 30_000), 'visitor: leaves', () => kernel.leave(occupant));
  }

  #junk({ mountPoint }: History): void {
    const { tree, kernel } = this.#host;
    if (kernel.top(mountPoint) !== undefined) return;
    const kind = this.#chance.pick(['link', 'other', 'directory'] as const);
    tree.put(mountPoint, { kind, uid: 0, mode: 0o755, occupied: kind === 'directory' });
    this.#scheduler.after(null, this.#chance.int(100, 10_000), 'adversary: takes its junk away', () => {
      const node = tree.nodes.get(mountPoint);
      if (node !== undefined && (node.kind !== 'directory' || node.occupied)) tree.take(mountPoint);
    });
  }

  /** The agent dies and its ledger with it. What was in use then must stay, whatever the next agent knows. */
  #loseLedger(): void {
    this.#keep('its users were lost with the ledger', (volume) => this.#truth.keysOf(volume));
    this.#processes.crashAgent('with its ledger');
    this.#disk.lose();
    this.#truth.forget(this.#scheduler.steps);
  }

  /** The agent dies, and an older copy of state_dir is put back. What somebody uses whom the copy lacks must stay. */
  #putBackState(): void {
    this.#processes.crashAgent('for a restore');
    const before = this.#disk.records();
    const copy = this.#disk.putBack(this.#host.kernel.bootId);
    if (copy === null) return;
    const known = new Set(copy.attachments.map(({ id }) => id));
    const lost = before.attachments.filter(({ id }) => !known.has(id));
    this.#keep('its users were lost with a newer ledger', (volume) =>
      lost.filter(({ leaf }) => leaf === volume.leaf).map(({ consumer, disk }) => keyOf(consumer, volume, disk)),
    );
    this.#truth.rewind(before.attachments, copy.attachments, this.#scheduler.steps);
  }

  /** From now on a mount with a live user among `usersOf` its volume must stay. */
  #keep(why: string, usersOf: (volume: Volume) => readonly Key[]): void {
    for (const { volume, mountPoint } of this.#targets) {
      const mount = this.#host.kernel.at(mountPoint).find((one) => one.serves === volume.export);
      const used = usersOf(volume).some((key) => this.#truth.certainty(key) === 'live');
      if (mount !== undefined && used) this.#judge.kept.set(mount, why);
    }
  }
}

// Everything that goes wrong: servers that hang, die and come back, strangers and outsiders at our leaves, processes that
// crash, disks that are full, slow or read-only, a host that reboots. What it does is drawn from the seed's profile.

import { FairleadError } from '../../src/core/errors.js';
import type { RequestContext } from '../../src/core/requests.js';
import type { Volume } from '../../src/core/volume.js';
import type { RunningEngine } from '../../src/engine/engine.js';
import type { StateDisk } from './disk.js';
import type { EffectJudge } from './effects.js';
import type { History } from './history.js';
import type { Mount } from './kernel.js';
import type { Host } from './machine.js';
import { Outsiders } from './outsiders.js';
import type { Processes } from './processes.js';
import { BAD_MOODS, type Profile, type Trouble } from './profiles.js';
import type { Chance } from './prng.js';
import type { Scheduler } from './scheduler.js';
import { Source } from './sources.js';
import { Strangers } from './strangers.js';
import type { ServerState } from './superblocks.js';
import { keyOf, type Key, type Truth } from './truth.js';

/** Milliseconds after which the operator looks once more: helpers that were at work are over by then. */
const OPERATOR_MS = 60_000;
/** Share of outsiders who stay, and of hung helpers that go on hanging, when the world is healed. */
const STAY = 0.3;

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
  readonly #strangers: Strangers;
  readonly #outsiders: Outsiders;
  readonly #sources: readonly Source[];
  #resting = false;

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
    const { kernel, tree, services } = this.#host;
    this.#strangers = new Strangers({ ...parts, chance: this.#chance.fork() });
    this.#outsiders = new Outsiders(this.#scheduler, this.#chance.fork(), kernel, tree);
    this.#outsiders.returned = (mount) => this.#forgive(mount);
    this.#sources = this.#targets
      .filter(({ volume }) => volume.backend === 'local')
      .map(({ volume }) => new Source(tree, this.#chance, volume.export));
    const harmed = new Set(this.#targets.map(({ volume }) => volume.export as string));
    services.helpers.moodOf = (exported) =>
      !this.#resting && harmed.has(exported) && this.#chance.once(this.#profile.badHelpers)
        ? this.#chance.weighted(BAD_MOODS)
        : 'prompt';
    services.helpers.isSlowToEnd = (exported) => harmed.has(exported) && this.#chance.once(this.#profile.slowEnds);
  }

  /** Begins, and goes on until it is told to rest. */
  run(): void {
    if (Object.keys(this.#profile.troubles).length === 0) return;
    const { losses, crashAtPoints } = this.#profile;
    this.#processes.crashAtPoints = crashAtPoints;
    this.#processes.notesLost = this.#chance.once(losses) ? 0.3 : 0;
    this.#processes.recordLost = this.#chance.once(losses) ? 0.5 : 0;
    const { superblocks } = this.#host.kernel;
    superblocks.isReadable = !this.#chance.once(losses / 2);
    this.#host.services.slowness = losses / 5;
    const { notesLost, recordLost } = this.#processes;
    this.#scheduler.note(`adversary: loses notes ${notesLost}, record ${recordLost}, ${superblocks.isReadable}`);
    this.#goOn();
  }

  #goOn(): void {
    const pause = -Math.log(1 - this.#chance.next()) * this.#profile.paceMs;
    this.#scheduler.after(null, pause, 'adversary', () => {
      if (this.#resting) return;
      const trouble = this.#chance.weighted(this.#profile.troubles as Record<Trouble, number>);
      this.#scheduler.note(`adversary: ${trouble}`);
      this.#make(trouble);
      this.#goOn();
    });
  }

  /** Stops, and puts the world in order: what hung answers, most of the others leave, everything is up again. */
  heal(): void {
    this.#resting = true;
    const { kernel, services, tree, notes } = this.#host;
    this.#processes.crashAtPoints = 0;
    this.#processes.linkDown = false;
    this.#disk.full = false;
    this.#disk.isReadOnly = false;
    this.#disk.slowness = 3;
    notes.full = false;
    services.ready = true;
    services.heal(() => this.#chance.once(STAY));
    this.#outsiders.heal(STAY);
    for (const source of this.#sources) source.restore();
    for (const superblock of [...kernel.superblocks.all]) {
      const { server, home } = superblock;
      if (server === null || !this.#targets.some(({ mountPoint }) => mountPoint === home)) continue;
      server.rights = 'all';
      kernel.changed(home, 'stranger');
      kernel.setServer(superblock, 'answering', 'stranger');
      if (this.#chance.once(0.2)) services.helpers.crash(superblock);
    }
    this.#operatorCleans();
    this.#scheduler.after(null, OPERATOR_MS, 'operator: looks once more', () => this.#operatorCleans());
    for (const history of this.#targets) {
      const node = tree.nodes.get(history.mountPoint);
      if (node !== undefined && (node.kind !== 'directory' || node.occupied)) tree.take(history.mountPoint);
    }
    this.#disturbed();
  }

  /** Those who stayed leave, too, and what still hung goes on. */
  end(withinMs: number): void {
    this.#outsiders.leave(withinMs);
    this.#scheduler.after(null, withinMs, 'operator: ends what hangs', () => this.#host.services.heal(() => false));
  }

  /** A mount that is kept comes back to its leaf, where Fairlead may be at work by now. */
  #forgive(mount: Mount): void {
    const history = this.#targets.find(({ mountPoint }) => mountPoint === mount.superblock.home);
    if (history !== undefined && this.#strangers.isInMotion(history.volume)) this.#judge.kept.delete(mount);
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
    const { kernel, services, notes } = this.#host;
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
        if (top !== undefined) services.helpers.crash(top.superblock);
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
        this.#strangers.cover(history);
        return;
      case 'uncover':
        this.#strangers.uncover(history);
        return;
      case 'pile':
        this.#strangers.pile(history);
        return;
      case 'junk':
        this.#strangers.junk(history);
        return;
      case 'nova-mounts':
        this.#strangers.novaMounts(history);
        return;
      case 'take-away':
        if (top !== undefined && kernel.unmount(history.mountPoint, 'plain', 'stranger') !== null) {
          kernel.unmount(history.mountPoint, 'detach', 'stranger');
        }
        return;
      case 'operator-aborts':
        this.#operator(true, (engine, context) => engine.abort(history.volume.leaf, context));
        return;
      case 'visitor':
      case 'pass':
      case 'copy':
      case 'bind':
      case 'move':
      case 'lazy-umount':
        this.#outsiders.make(trouble, history);
        return;
      case 'operator-asks':
        this.#operator(false, (engine, context) => engine.examine(context));
        return;
      case 'operator-lifts':
        this.#operator(true, (engine, context) =>
          engine.liftHold({ leaf: history.volume.leaf, force: false }, context),
        );
        return;
      case 'sources':
        if (this.#sources.length > 0) this.#chance.pick(this.#sources).disturb();
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
      case 'disk-slow':
        this.#disk.slowness = this.#chance.int(100, 5000);
        this.#forAWhile(() => (this.#disk.slowness = 3));
        return;
      case 'disk-read-only':
        this.#disk.isReadOnly = true;
        this.#forAWhile(() => (this.#disk.isReadOnly = false));
        return;
      case 'run-full':
        notes.full = true;
        this.#forAWhile(() => (notes.full = false));
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

  #server(mount: Mount | undefined, state: Exclude<ServerState, 'dead'>): void {
    if (mount !== undefined) this.#host.kernel.setServer(mount.superblock, state, 'stranger');
  }

  /** Without asking first whether it hangs, or who uses it: that is for Fairlead to find out, and `canBeRefused` then. */
  #operator(canBeRefused: boolean, asks: (engine: RunningEngine, context: RequestContext) => Promise<unknown>): void {
    const { agent } = this.#processes;
    if (agent?.ready !== true) return;
    const context = { deadlineMs: 10_000, signal: new AbortController().signal };
    asks(agent.engine, context).catch((error: unknown) => {
      if (!canBeRefused || !(error instanceof FairleadError)) this.#processes.oddError(String(error));
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

// Whoever makes it hard: kills and stops processes of Fairlead and clients, and changes mounts behind Fairlead's back.

import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { User, UserError } from '../../../rig/user.js';
import type { Chance } from '../../../sim/prng.js';
import { COVER, type CampaignVolume, type Copy, type World } from './world.js';

/** How often each thing is done, against each other. */
const DEEDS = {
  killAgent: 2,
  killBroker: 3,
  stopOurs: 4,
  crash: 1,
  killClient: 2,
  stopClient: 4,
  detach: 4,
  unmount: 3,
  move: 3,
  bind: 4,
  privateNamespace: 3,
  cover: 3,
  uncover: 2,
  endCopy: 4,
  blink: 1,
} as const;
/** Copies that there are at the same time, at most. */
const MOST_COPIES = 6;
/** Milliseconds for which a process is stopped, at least and at most. */
const STOPPED_MS = [100, 2500] as const;

/** See the file's head. */
export class Adversary {
  readonly #world: World;
  readonly #chance: Chance;
  #stopped: Promise<void>[] = [];

  constructor(world: World, chance: Chance) {
    this.#world = world;
    this.#chance = chance;
  }

  /** Does one thing, a moment later. */
  async act(): Promise<void> {
    await sleep(this.#chance.int(0, 400));
    await this.#do(this.#chance.weighted(DEEDS));
  }

  async #do(deed: keyof typeof DEEDS): Promise<void> {
    const volume = this.#chance.pick(this.#world.volumes);
    switch (deed) {
      case 'killAgent':
        this.#killOurs('agent');
        return;
      case 'killBroker':
        this.#killOurs('broker');
        return;
      case 'stopOurs':
        this.#stopOurs();
        return;
      case 'crash':
        return this.#crash();
      case 'killClient':
        this.#onClient((pid) => this.#world.killClient(pid, volume), volume);
        return;
      case 'stopClient':
        this.#onClient((pid) => this.#stop(pid, `client ${pid} of ${volume.name}`), volume);
        return;
      case 'detach':
        if (volume.isOnTop()) await this.#world.try('/bin/umount', '-l', volume.mountpoint);
        return;
      case 'unmount':
        if (volume.isOnTop()) await this.#world.try('/bin/umount', volume.mountpoint);
        return;
      case 'move':
        return this.#copy(volume, '--move');
      case 'bind':
        return this.#copy(volume, '--bind');
      case 'privateNamespace':
        return this.#isolate(volume);
      case 'cover':
        if (volume.isCovered || volume.stack().length === 0) return;
        volume.isCovered = await this.#world.try('/bin/mount', '-t', 'tmpfs', COVER, volume.mountpoint);
        return;
      case 'uncover':
        return this.uncover(volume);
      case 'endCopy':
        if (this.#world.copies.size > 0) await this.endCopy(this.#chance.pick([...this.#world.copies]));
        return;
      case 'blink':
        return this.#blink(volume);
    }
  }

  /** Every process that was stopped goes on. */
  async rest(): Promise<void> {
    await Promise.all(this.#stopped.splice(0));
  }

  async uncover(volume: CampaignVolume): Promise<void> {
    if (!volume.isCovered || volume.stack().at(-1)?.source !== COVER) return;
    if (await this.#world.try('/bin/umount', volume.mountpoint)) volume.isCovered = false;
  }

  /** A copy goes: it is unmounted, or the last process of its namespace ends. */
  async endCopy(copy: Copy): Promise<void> {
    this.#world.copies.delete(copy);
    await copy.user.end();
    this.#world.note(`the process of ${copy.directory} (${copy.kind}) ends`);
    if (copy.kind === 'namespace' || (await this.#world.try('/bin/umount', copy.directory))) return;
    // Somebody has a file open on what was moved there.
    await this.#world.try('/bin/umount', '-l', copy.directory);
  }

  #killOurs(who: 'agent' | 'broker'): void {
    const pid = this.#world.host.pid(who);
    this.#world.note(`SIGKILL to the ${who}`);
    if (pid !== null) signal(pid, 'SIGKILL');
  }

  #stopOurs(): void {
    const { host, up } = this.#world;
    const who = this.#chance.pick(['agent', 'broker', 'hypervisor', 'up'] as const);
    const pid = who === 'up' ? up.child.pid : host.pid(who);
    if (pid !== null && pid !== undefined) this.#stop(pid, `the ${who}`);
  }

  async #crash(): Promise<void> {
    await this.rest();
    this.#world.note('SIGKILL to everything of Fairlead');
    await this.#world.host.crash();
    this.#world.up = this.#world.host.launchUp();
  }

  #stop(pid: number, whose: string): void {
    const ms = this.#chance.int(...STOPPED_MS);
    this.#world.note(`SIGSTOP to ${whose} for ${ms} ms`);
    signal(pid, 'SIGSTOP');
    this.#stopped.push(sleep(ms).then(() => signal(pid, 'SIGCONT')));
  }

  #onClient(deed: (pid: number) => void, volume: CampaignVolume): void {
    const pids = volume.clients();
    if (pids.length > 0) deed(this.#chance.pick(pids));
  }

  /** The mount is bound or moved to another place, where it must go on. */
  async #copy(volume: CampaignVolume, how: '--bind' | '--move'): Promise<void> {
    if (!volume.isOnTop() || this.#world.copies.size >= MOST_COPIES) return;
    const directory = join(this.#world.host.dir, this.#world.fresh('place'));
    mkdirSync(directory);
    if (!(await this.#world.try('/bin/mount', how, volume.mountpoint, directory))) return;
    await this.#promise(volume, directory, 'place', await User.start());
  }

  /** A process in a mount namespace of its own has a copy of every mount; one volume is looked at. */
  async #isolate(volume: CampaignVolume): Promise<void> {
    if (!volume.isOnTop() || this.#world.copies.size >= MOST_COPIES) return;
    const user = await User.start('private');
    this.#world.note(`a private namespace, process ${user.pid}`);
    await this.#promise(volume, volume.mountpoint, 'namespace', user);
  }

  /** Takes the volume at `directory`, as `user` sees it, for a copy, if it is there. */
  async #promise(volume: CampaignVolume, directory: string, kind: Copy['kind'], user: User): Promise<void> {
    const file = this.#world.fresh('copied');
    const copy: Copy = { volume, file, text: `${volume.name} has ${file}`, isExcused: false, directory, kind, user };
    if (!volume.isAway) volume.put(file, copy.text);
    const kills = volume.kills;
    // Between our look and the deed the mount may have gone: then it is a copy of the bare leaf.
    if (isMountOf(volume, directory, user.pid) && (await opens(user, copy))) {
      copy.isExcused = volume.kills !== kills;
      this.#world.copies.add(copy);
      this.#world.note(`${directory} (${kind}) is a copy of ${volume.name}`);
      if (this.#chance.once(0.5)) await user.close(copy.file).catch(() => undefined);
      return;
    }
    await user.end();
    if (kind === 'place') await this.#world.try('/bin/umount', directory);
  }

  /** A local volume's directory is away for a moment. */
  async #blink(volume: CampaignVolume): Promise<void> {
    if (!volume.url.startsWith('local:') || volume.isAway) return;
    volume.isAway = true;
    this.#world.note(`${volume.backing} is renamed`);
    renameSync(volume.backing, `${volume.backing}.away`);
    await sleep(this.#chance.int(10, 500));
    renameSync(`${volume.backing}.away`, volume.backing);
    this.#world.note(`${volume.backing} is back`);
    volume.isAway = false;
  }
}

async function opens(user: User, copy: Copy): Promise<boolean> {
  try {
    await user.openThere(copy.file, join(copy.directory, copy.file));
    return true;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return false;
  }
}

/** Whether the topmost mount at a directory is the volume, in the namespace of a process. */
function isMountOf(volume: CampaignVolume, directory: string, pid: number): boolean {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
  const top = lines.filter((line) => line.split(' ')[4] === directory).at(-1);
  return (
    top !== undefined && (volume.url.startsWith('local:') ? !top.includes(` ${COVER} `) : top.includes('fuse.quobyte'))
  );
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

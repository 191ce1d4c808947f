// A user of volumes: connects and disconnects, opens, writes, reads and closes files, and dies now and then with everything open.

import { join } from 'node:path';
import { Client, type HttpAnswer } from '../../../rig/client.js';
import { User, UserError } from '../../../rig/user.js';
import type { Chance } from '../../../sim/prng.js';
import type { CampaignVolume, OpenFile, World } from './world.js';

/** What a consumer was promised of a volume. `unknown`: the last request had no answer, so either is right. */
type Standing = 'attached' | 'detached' | 'unknown';

/** Milliseconds that a request may take. */
const REQUEST_MS = 8000;
/** Answers that do not tell whether the request had its effect. */
const UNCERTAIN = ['unavailable', 'deadline-exceeded', 'stuck'];

/** See the file's head. */
export class Person {
  readonly consumer: string;
  readonly standings = new Map<CampaignVolume, Standing>();
  readonly #world: World;
  readonly #chance: Chance;
  readonly #client: Client;
  #process: User;

  private constructor(world: World, consumer: string, chance: Chance, process: User) {
    this.#world = world;
    this.consumer = consumer;
    this.#chance = chance;
    this.#process = process;
    this.#client = new Client(world.host.socket);
  }

  static async born(world: World, consumer: string, chance: Chance): Promise<Person> {
    return new Person(world, consumer, chance, await User.start());
  }

  standing(volume: CampaignVolume): Standing {
    return this.standings.get(volume) ?? 'detached';
  }

  /** Does one thing. */
  async act(): Promise<void> {
    const mine = this.#files();
    const attached = this.#world.volumes.filter((volume) => this.standing(volume) === 'attached');
    switch (this.#chance.weighted({ connect: 7, disconnect: 5, open: 5, write: 5, close: 3, die: 0.4 })) {
      case 'connect':
        await this.connect(this.#chance.pick(this.#world.volumes));
        return;
      case 'disconnect': {
        if (attached.length === 0) return;
        const volume = this.#chance.pick(attached);
        if (this.#chance.once(0.7)) await this.closeAll(volume);
        await this.disconnect(volume);
        return;
      }
      case 'open':
        if (attached.length > 0) await this.open(this.#chance.pick(attached));
        return;
      case 'write':
        if (mine.length > 0) await this.verify(this.#chance.pick(mine));
        return;
      case 'close':
        if (mine.length > 0) await this.close(this.#chance.pick(mine));
        return;
      case 'die':
        await this.die();
        return;
    }
  }

  /** One connect; the answer's code, or undefined for success. */
  async connect(volume: CampaignVolume): Promise<string | undefined> {
    volume.connects += 1;
    const answer = await this.#ask(() => this.#client.connect(volume.url, this.consumer, { timeoutMs: REQUEST_MS }));
    const code = answer === null ? 'unavailable' : answer.code;
    this.#world.note(`${this.consumer} connect ${volume.name}: ${code ?? 'attached'}`);
    if (code === undefined) {
      this.standings.set(volume, 'attached');
      if (answer?.body['verdict'] !== 'healthy') this.#world.violate(`connected, and not healthy: ${volume.name}`);
    } else if (UNCERTAIN.includes(code) && this.standing(volume) !== 'attached') {
      this.standings.set(volume, 'unknown');
    }
    if (code === 'internal') this.#world.violate(`connect of ${volume.name} met an error that nobody foresaw`);
    return code;
  }

  /** One disconnect; whether it was answered with success. */
  async disconnect(volume: CampaignVolume): Promise<boolean> {
    const before = volume.connects;
    const answer = await this.#ask(() => this.#client.disconnect(volume.url, this.consumer, { timeoutMs: REQUEST_MS }));
    const code = answer === null ? 'unavailable' : answer.code;
    const outcome = String(answer?.body['outcome']);
    this.#world.note(`${this.consumer} disconnect ${volume.name}: ${code ?? outcome}`);
    if (code === 'internal') this.#world.violate(`disconnect of ${volume.name} met an error that nobody foresaw`);
    if (code !== undefined) {
      this.standings.set(volume, 'unknown');
      return false;
    }
    this.standings.set(volume, 'detached');
    // Whoever has connected since may have mounted it again.
    const isSaidGone = answer?.body['mounted'] === false && outcome !== 'not-connected';
    if (isSaidGone && volume.connects === before && volume.ours().length > 0) {
      this.#world.violate(`${outcome} was answered, and ${volume.name} is mounted at its leaf`);
    }
    return true;
  }

  /** Opens a new file of a volume through its leaf; what cannot be opened now is no promise. */
  async open(volume: CampaignVolume, mustWork?: 'must-work'): Promise<void> {
    const file = this.#world.fresh('file');
    const text = `${volume.name} has ${file}`;
    if (volume.isAway) return;
    volume.put(file, text);
    const kills = volume.kills;
    const process = this.#process;
    try {
      await process.openThere(file, volume.at(file));
    } catch (error) {
      if (mustWork !== undefined) this.#world.violate(`${this.consumer} cannot open ${volume.name}: ${String(error)}`);
      this.#judge(error);
      return;
    }
    const opened: OpenFile = { user: process, volume, file, text, isExcused: volume.kills !== kills };
    this.#world.files.add(opened);
    this.#world.note(`${this.consumer} has ${file} of ${volume.name} open`);
    await this.verify(opened);
  }

  /** Reads an open file, which must have what was written; writes something else, and reads that. */
  async verify(file: OpenFile): Promise<void> {
    try {
      const is = await file.user.read(file.file);
      if (is !== file.text) this.#lost(file, `has "${is}" instead of "${file.text}"`);
      const text = `${file.volume.name} has ${file.file} ${this.#world.fresh('version')}`;
      await file.user.write(file.file, text);
      file.text = text;
      const now = await file.user.read(file.file);
      if (now !== text) this.#lost(file, `has "${now}" instead of "${text}"`);
    } catch (error) {
      this.#lost(file, String(error));
      this.#judge(error);
    }
  }

  async close(file: OpenFile): Promise<void> {
    const servers = file.volume.servers(file.file);
    this.#world.files.delete(file);
    try {
      await file.user.close(file.file);
    } catch (error) {
      const isExcused = file.isExcused || servers.some((pid) => this.#world.killed.has(pid));
      if (!isExcused) this.#world.violate(`${this.consumer} cannot close ${file.file}: ${String(error)}`);
      this.#judge(error);
      return;
    }
    if (!file.isExcused) this.#world.closed.push({ ...file, servers });
  }

  async closeAll(volume: CampaignVolume): Promise<void> {
    for (const file of this.#files()) if (file.volume === volume) await this.close(file);
  }

  /** All that it has open and that must work, works. */
  async verifyAll(): Promise<void> {
    for (const file of this.#files()) await this.verify(file);
  }

  /** Reads the volume's marker through the leaf. */
  readMarker(volume: CampaignVolume, marker: string): Promise<string> {
    return this.#process.readPath(join(volume.mountpoint, marker));
  }

  /** Ends without a word, and comes back. */
  async die(): Promise<void> {
    for (const file of this.#files()) {
      this.#world.files.delete(file);
      if (!file.isExcused) this.#world.closed.push({ ...file, servers: file.volume.servers(file.file) });
    }
    this.#world.note(`${this.consumer} dies`);
    await this.#process.end();
    this.#process = await User.start();
  }

  async end(): Promise<void> {
    this.#client.close();
    await this.#process.end();
  }

  #files(): readonly OpenFile[] {
    return [...this.#world.files].filter(({ user }) => user === this.#process);
  }

  #lost(file: OpenFile, how: string): void {
    this.#world.files.delete(file);
    if (!file.isExcused) this.#world.violate(`${this.consumer} has lost ${file.file} of ${file.volume.name}: ${how}`);
  }

  /** Failures of files are judged by whoever was promised something; no answer at all is always wrong. */
  #judge(error: unknown): void {
    if (!(error instanceof UserError)) throw error;
    if (error.code === 'NO-ANSWER') this.#world.violate(`${this.consumer} hangs: ${error.message}`);
  }

  /** Null: there was no answer. */
  async #ask(request: () => Promise<HttpAnswer>): Promise<HttpAnswer | null> {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      return null;
    }
  }
}

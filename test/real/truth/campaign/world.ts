// What the campaign knows to be true: volumes, who was promised what, which files are open and what was written to them, which
// copies of mounts there are elsewhere, and which clients the campaign itself has killed. Everything is compared with the kernel.

import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host, SeenMount } from '../../../rig/host.js';
import { run, type Running } from '../../../rig/programs.js';
import type { User } from '../../../rig/user.js';
import { VolumeInUse } from '../../../rig/volumes.js';
import type { Chance } from '../../../sim/prng.js';

/** The file of every volume that has the volume's name in it. */
export const MARKER = 'marker';
/** Source of the mounts that the campaign puts over leaves. */
export const COVER = 'cover';

/** A volume, and what became of it. */
export class CampaignVolume extends VolumeInUse {
  /** The directory behind it. */
  readonly backing: string;
  /** Connects that were begun, ever. */
  connects = 0;
  /** Clients of it that the campaign has killed, ever. */
  kills = 0;
  /** Mounts that somebody has put over its leaf. */
  isCovered = false;
  /** Its directory is away for a moment (a local volume). */
  isAway = false;

  constructor(host: Host, url: string, backing: string) {
    super(host, url);
    this.backing = backing;
    writeFileSync(join(backing, MARKER), this.name);
  }

  /** Makes a file in it, past every mount. */
  put(file: string, text: string): void {
    writeFileSync(join(this.backing, file), text);
  }

  /** What lies at the leaf, bottom first. */
  stack(): readonly SeenMount[] {
    return this.host.mounts().filter(({ mountPoint }) => mountPoint === this.mountpoint);
  }

  /** Mounts at the leaf that are not covers. */
  ours(): readonly SeenMount[] {
    return this.stack().filter(({ source }) => source !== COVER);
  }

  /** Whether the topmost mount is one of ours. */
  isOnTop(): boolean {
    const top = this.stack().at(-1);
    return top !== undefined && top.source !== COVER;
  }

  /** The clients that have this file open: normally the one through whose mount it was opened. */
  servers(file: string): readonly number[] {
    const path = join(this.backing, file);
    return this.clients().filter((pid) => openPaths(pid).includes(path));
  }
}

/** Something of a volume that must go on working whatever happens at the leaf, as long as its client lives. */
export interface Promised {
  readonly volume: CampaignVolume;
  readonly file: string;
  /** What was last written to the file. */
  text: string;
  /** The campaign has killed, or may have killed, the client that served it. */
  isExcused: boolean;
}

/** A file that is open. */
export interface OpenFile extends Promised {
  readonly user: User;
}

/** A mount of a volume in another place, or in another mount namespace, with the process that looks at it. */
export interface Copy extends Promised {
  readonly directory: string;
  readonly user: User;
  /** The process is there for this copy, in a namespace of its own; a place here is unmounted in the end. */
  readonly kind: 'place' | 'namespace';
}

/** A file that was closed, and what it must have when no client is left. */
export interface Closed {
  readonly volume: CampaignVolume;
  readonly file: string;
  readonly text: string;
  readonly servers: readonly number[];
}

/** See the file's head. */
export class World {
  readonly host: Host;
  readonly chance: Chance;
  readonly volumes: readonly CampaignVolume[];
  readonly files = new Set<OpenFile>();
  readonly copies = new Set<Copy>();
  closed: Closed[] = [];
  /** Clients that the campaign has killed. */
  readonly killed = new Set<number>();
  /** Clients that were seen, and whose they were. */
  readonly seen = new Map<number, CampaignVolume>();
  readonly violations: string[] = [];
  up: Running;
  #round = 0;
  #events: string[] = [];
  #serial = 0;

  constructor(host: Host, up: Running, chance: Chance, volumes: readonly CampaignVolume[]) {
    this.host = host;
    this.up = up;
    this.chance = chance;
    this.volumes = volumes;
  }

  get round(): number {
    return this.#round;
  }

  /** What happened in this round, in order. */
  get events(): readonly string[] {
    return this.#events;
  }

  beginRound(): void {
    this.#round += 1;
    this.#events = [];
  }

  note(event: string): void {
    this.#events.push(`${new Date().toISOString().slice(11, 23)} ${event}`);
  }

  /** Something is not as it must be. */
  violate(what: string): void {
    this.violations.push(`round ${this.#round}: ${what}`);
    this.note(`VIOLATION ${what}`);
  }

  /** A name that was not used before. */
  fresh(what: string): string {
    this.#serial += 1;
    return `${what}-${this.#serial}`;
  }

  /** Looks at which clients there are, so that none ends unseen. */
  watchClients(): void {
    for (const volume of this.volumes) for (const pid of volume.clients()) this.seen.set(pid, volume);
  }

  /** Kills a client with SIGKILL, and excuses whatever it serves. */
  killClient(pid: number, volume: CampaignVolume): void {
    volume.kills += 1;
    for (const promised of [...this.files, ...this.copies]) {
      if (promised.volume === volume && isServedBy(promised, pid)) promised.isExcused = true;
    }
    this.killed.add(pid);
    this.note(`SIGKILL to client ${pid} of ${volume.name}`);
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Runs a program of the system; whether it succeeded. */
  async try(program: string, ...args: readonly string[]): Promise<boolean> {
    const { status, stderr } = await run(program, args);
    this.note(`${[program, ...args].join(' ')}${status === 0 ? '' : `: ${stderr.trim()}`}`);
    return status === 0;
  }
}

/** A file that was opened through a mount stays open in its client as well; a copy without an open file might be anybody's. */
function isServedBy(promised: Promised, pid: number): boolean {
  const servers = promised.volume.servers(promised.file);
  return servers.length === 0 || servers.includes(pid);
}

function openPaths(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        return [];
      }
    });
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return [];
  }
}

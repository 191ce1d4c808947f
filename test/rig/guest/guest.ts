// A small Linux guest for tests: a libvirt domain of type `qemu` (no hardware help is needed) whose disks are hot-plugged. The test
// asks it by its console and sees what the guest itself sees; libvirt is asked with virsh, as an operator would.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Libvirtd } from '../libvirt.js';
import { until } from '../until.js';
import { Console } from './console.js';
import type { GuestImage } from './image.js';

/** Bytes of the blocks that {@link Guest.digest} and {@link Guest.fill} count in. */
export const BLOCK = 4096;
/** MiB of memory. */
const MEMORY = 128;

/** A disk as the guest sees it. */
export interface GuestDisk {
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
}

/** What a guest is made of. */
export interface GuestOptions {
  readonly name: string;
  readonly uuid: string;
  readonly libvirtd: Libvirtd;
  readonly image: GuestImage;
  /** A directory for its socket and its log, which QEMU's user may search. */
  readonly directory: string;
  /** Words for its kernel. */
  readonly kernelWords?: string;
}

/** A defined domain, running or not. */
export class Guest {
  readonly name: string;
  readonly uuid: string;
  readonly #options: GuestOptions;
  #console: Console | null = null;

  private constructor(options: GuestOptions) {
    this.#options = options;
    this.name = options.name;
    this.uuid = options.uuid;
  }

  /** Defines the domain; it is not started. */
  static async define(options: GuestOptions): Promise<Guest> {
    const { name, uuid, libvirtd, image, kernelWords = '' } = options;
    await libvirtd.define({
      name,
      uuid,
      memory: MEMORY,
      os: `<kernel>${image.kernel}</kernel><initrd>${image.initrd}</initrd>
        <cmdline>console=ttyS1 quiet panic=-1 ${kernelWords}</cmdline>`,
      devices: `<serial type='unix'><source mode='bind' path='${socketOf(options)}'/></serial>
        <serial type='file'><source path='${logOf(options)}'/></serial>`,
    });
    return new Guest(options);
  }

  /** Starts the domain and waits until the guest answers. */
  async start(): Promise<void> {
    await this.#virsh('start', this.name);
    this.#console = await Console.open(socketOf(this.#options)).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.kernelLog().slice(-3000)}`);
    });
  }

  /** Has the guest switch itself off, and waits for its process to end. */
  async powerOff(): Promise<void> {
    await this.#line().ask('poweroff');
    this.#line().close();
    this.#console = null;
    await until(
      `${this.name} is off`,
      async () => (await this.#virsh('domstate', this.name)).trim() === 'shut off',
      30_000,
    );
  }

  /** Ends the guest as pulling the plug does. */
  async destroy(): Promise<void> {
    this.#console?.close();
    this.#console = null;
    await this.#virsh('destroy', this.name);
  }

  async disks(): Promise<readonly GuestDisk[]> {
    const listed = (await this.#line().ask('disks')).split(' ').filter(Boolean);
    return listed.map((entry) => {
      const [name = '', bytes = '', mode = ''] = entry.split(':');
      return { name, bytes: Number(bytes), readOnly: mode === 'ro' };
    });
  }

  /** Waits until the guest has one disk more than `before`, and returns it. */
  newDisk(before: readonly GuestDisk[]): Promise<GuestDisk> {
    const known = new Set(before.map(({ name }) => name));
    return until(
      `${this.name} sees a new disk`,
      async () => (await this.disks()).find(({ name, bytes }) => !known.has(name) && bytes > 0),
      20_000,
    );
  }

  /** SHA-256, in hexadecimal, of blocks as the disk has them now. */
  digest(disk: string, block: number, count: number): Promise<string> {
    return this.#line().ask('digest', disk, block, count);
  }

  /** Fills blocks as {@link filling} has them; they are on the disk afterwards. Fails if the guest cannot. */
  async fill(disk: string, block: number, count: number, word: string): Promise<void> {
    await this.#line().ask('fill', disk, block, count, word);
  }

  /** Has the guest read the size of a SCSI disk again, which its kernel does not do by itself. */
  async rescan(disk: string): Promise<void> {
    await this.#line().ask('rescan', disk);
  }

  /** Begins to write one block again and again, with the next number each time. */
  async churn(disk: string, block: number): Promise<void> {
    await this.#line().ask('churn', disk, block);
  }

  /** How many writes have succeeded and failed since {@link churn}. */
  async churned(): Promise<Churned> {
    return toChurned(await this.#line().ask('churned'));
  }

  /** Ends {@link churn}. */
  async calm(): Promise<Churned> {
    return toChurned(await this.#line().ask('calm'));
  }

  /** How many I/O errors the guest's kernel has logged since it booted. */
  async complaints(): Promise<number> {
    return Number(await this.#line().ask('complaints'));
  }

  /** What these commands print in the guest's shell, as root; fails if one fails. */
  async shell(commands: string): Promise<string> {
    const printed = await this.#line().ask('sh', Buffer.from(commands).toString('base64'));
    return Buffer.from(printed, 'base64').toString();
  }

  /** What the guest's kernel has said. */
  kernelLog(): string {
    return readFileSync(logOf(this.#options), 'utf8');
  }

  #virsh(...words: readonly string[]): Promise<string> {
    return this.#options.libvirtd.virsh(...words);
  }

  #line(): Console {
    if (this.#console === null) throw new Error(`${this.name} is not running`);
    return this.#console;
  }
}

/** Writes that succeeded and that failed. */
export interface Churned {
  readonly good: number;
  readonly bad: number;
}

/** The bytes of `count` blocks filled with lines of one word. */
export function filling(count: number, word: string): Buffer {
  const line = Buffer.from(`${word}\n`);
  return Buffer.alloc(count * BLOCK, line);
}

/** SHA-256 as {@link Guest.digest} writes it. */
export function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function toChurned(answer: string): Churned {
  const [good = Number.NaN, bad = Number.NaN] = answer.split(' ').map(Number);
  return { good, bad };
}

function socketOf({ directory, name }: GuestOptions): string {
  return join(directory, `${name}.serial`);
}

function logOf({ directory, name }: GuestOptions): string {
  return join(directory, `${name}.log`);
}

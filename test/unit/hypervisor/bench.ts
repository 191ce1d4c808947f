// A hypervisor process over a pretended libvirt and pretended images, for tests of what it decides.

import { FairleadError } from '../../../src/core/errors.js';
import type { Domain, DomainDisk, DomainUuid, Survey } from '../../../src/core/domains.js';
import type { Clock } from '../../../src/core/clock.js';
import { parseConfig } from '../../../src/config/parse.js';
import { encodeFrame, FrameDecoder } from '../../../src/core/frames.js';
import { parseMountTable } from '../../../src/core/mountinfo.js';
import { isBelow } from '../../../src/core/paths.js';
import type { Qcow2Header } from '../../../src/core/qcow2.js';
import { createContext, type Context } from '../../../src/hypervisor/context.js';
import { serve } from '../../../src/hypervisor/dispatch.js';
import type { ImageAnswer, ImagePlace } from '../../../src/hypervisor/image-main.js';
import type { ImageHands } from '../../../src/hypervisor/images.js';
import type { DeviceScope, Libvirt } from '../../../src/hypervisor/libvirt/libvirt.js';
import { PROTOCOL_VERSION } from '../../../src/hypervisor/protocol.js';
import { systemClock } from '../../../src/sys/clock.js';
import { pipe } from '../broker/pipe.js';

export const AGENT_UID = 990;
export const UUID = '7d8a2c1e-0b5f-4c3d-9a6e-112233445566' as DomainUuid;
export const OTHER = '7d8a2c1e-0b5f-4c3d-9a6e-665544332211' as DomainUuid;
export const URL = 'quobyte://reg1:7861/vol';
export const LEAF = 'c759ad7fc6f6d6c5c3fa54d89ec7ac4c';

const PASSWD = 'root:x:0:0::/:/bin/sh\nfairlead:x:990:990::/:/bin/sh\nlibvirt-qemu:x:64055:107::/:/bin/sh\n';
const CONFIG = `
[backend.quobyte]
mount_base = "/mnt/q"
registries = ["reg1:7861"]
[libvirt]
outside_images = ["/srv/images"]
`;

/** What a domain has, in short. */
export function disk(path: string | null, more: Partial<DomainDisk> = {}): DomainDisk {
  const plain = { target: 'vdb', bus: 'virtio', format: 'raw', readOnly: false, serial: null };
  return { ...plain, path, live: true, persistent: false, ...more };
}

/** libvirt as a test wants it: calls change its domains, unless a test says what happens instead. */
export class FakeLibvirt implements Libvirt {
  readonly domains = new Map<DomainUuid, Domain>();
  readonly sizes = new Map<string, number>();
  complete = true;
  readonly calls: string[] = [];
  /** Called before a change; what it throws is libvirt's answer, `true` means that nothing is done. */
  before: (call: string) => boolean | undefined = () => undefined;
  /** After the change. */
  after: (call: string) => void = () => undefined;

  define(uuid: DomainUuid, running: boolean, ...disks: DomainDisk[]): void {
    this.domains.set(uuid, { uuid, name: `guest ${uuid.slice(-4)}`, running, disks, otherFiles: [], remembered: [] });
  }

  survey(): Promise<Survey> {
    return this.#do('survey', () => ({ domains: [...this.domains.values()], complete: this.complete }));
  }

  domain(name: string): Promise<Domain> {
    return this.#do('domain', () => this.#domain(name as DomainUuid));
  }

  attachDevice(uuid: DomainUuid, xml: string, scope: DeviceScope): Promise<void> {
    return this.#do(`attach ${scope}`, () => {
      this.xml = xml;
      const path = /<source file="([^"]*)"/.exec(xml)?.[1] ?? '';
      const [, target = '', bus = ''] = /<target dev="(\w+)" bus="(\w+)"/.exec(xml) ?? [];
      const serial = /<serial>(.*)<\/serial>/.exec(xml)?.[1] ?? null;
      const format = / type="(raw|qcow2)"/.exec(xml)?.[1] ?? null;
      const added = { target, bus, format, serial, readOnly: xml.includes('<readonly/>') };
      this.change(uuid, (disks) => [
        ...disks.filter((one) => one.target !== target),
        disk(path, { ...disks.find((one) => one.target === target), ...added, ...this.#where(disks, target, scope) }),
      ]);
    });
  }

  xml = '';

  detachDevice(uuid: DomainUuid, xml: string, scope: DeviceScope): Promise<void> {
    return this.#do(`detach ${scope}`, () => {
      const target = /<target dev="(\w+)"/.exec(xml)?.[1];
      this.change(uuid, (disks) =>
        disks.flatMap((one) => {
          if (one.target !== target) return [one];
          const left = {
            live: one.live && scope === 'config',
            persistent: one.persistent && scope === 'live',
          };
          return left.live || left.persistent ? [{ ...one, ...left }] : [];
        }),
      );
    });
  }

  blockResize(uuid: DomainUuid, target: string, bytes: number): Promise<void> {
    return this.#do(`resize ${target}`, () => void this.sizes.set(`${uuid} ${target}`, bytes));
  }

  blockInfo(uuid: DomainUuid, target: string): ReturnType<Libvirt['blockInfo']> {
    const capacity = this.sizes.get(`${uuid} ${target}`) ?? 0;
    return this.#do('info', () => ({ capacity, allocation: 0, physical: capacity }));
  }

  onDevice(): () => void {
    return () => undefined;
  }

  close(): void {
    this.domains.clear();
  }

  change(uuid: DomainUuid, how: (disks: readonly DomainDisk[]) => readonly DomainDisk[]): void {
    const domain = this.#domain(uuid);
    this.domains.set(uuid, { ...domain, disks: how(domain.disks) });
  }

  #where(disks: readonly DomainDisk[], target: string, scope: DeviceScope): Pick<DomainDisk, 'live' | 'persistent'> {
    const before = disks.find((one) => one.target === target);
    return {
      live: scope !== 'config' || before?.live === true,
      persistent: scope !== 'live' || before?.persistent === true,
    };
  }

  #domain(uuid: DomainUuid): Domain {
    const domain = this.domains.get(uuid);
    if (domain === undefined) throw new FairleadError('not-found', 'libvirt has no such domain.', { field: 'domain' });
    return domain;
  }

  async #do<T>(call: string, work: () => T): Promise<T> {
    await Promise.resolve();
    this.calls.push(call);
    const instead = this.before(call);
    const result = instead === true ? (undefined as T) : work();
    this.after(call);
    return result;
  }
}

/** One image: its size, and its header if it is a qcow2. */
export interface FakeImage {
  size: number;
  readonly header?: Partial<Qcow2Header>;
  readonly odd?: ImageAnswer;
}

/** Images as a test wants them, by path. */
export class FakeImages {
  readonly files = new Map<string, FakeImage>();
  readonly done: string[] = [];
  readonly #opened: string[] = [];

  with<T>(_leaf: string, _deadline: unknown, as: string, work: (hands: ImageHands) => Promise<T>): Promise<T> {
    this.done.push(as);
    return work({
      open: (place, use) => Promise.resolve(this.#open(place, use)),
      measure: (image) => Promise.resolve(this.files.get(this.#opened[image] ?? '')?.size ?? -1),
      resize: (node, bytes) => {
        this.done.push(`resize ${JSON.stringify(node)}`);
        const file = this.files.get(this.#opened[node.image] ?? '');
        if (file !== undefined) file.size = bytes;
        return Promise.resolve();
      },
      create: (place, format, bytes) => {
        const path = `${place.directory}/${place.path}`;
        this.done.push(`create ${format} ${bytes}`);
        if (this.files.has(path)) return Promise.resolve(false);
        this.files.set(path, { size: bytes });
        return Promise.resolve(true);
      },
      give: ({ directory, path }) => {
        this.done.push('give');
        this.files.set(`${directory}/${path}`, { size: 512 });
        return Promise.resolve();
      },
      explain: (answer) => new FairleadError(answer.kind === 'absent' ? 'not-found' : 'permission-denied', answer.kind),
    });
  }

  #open({ directory, path }: ImagePlace, use: string): ImageAnswer {
    const full = `${directory}/${path}`;
    this.done.push(`open ${use} ${full}`);
    const file = this.files.get(full);
    if (file === undefined) return { kind: 'absent' };
    if (file.odd !== undefined) return file.odd;
    this.#opened.push(full);
    const plain = { version: 3, size: file.size, encryption: 'none', backing: null, dataFile: null } as const;
    const header = file.header === undefined ? null : { ...plain, ...file.header };
    return { kind: 'opened', image: this.#opened.length - 1, size: file.size, header };
  }
}

/** A connection to a hypervisor process. */
export interface Bench {
  readonly libvirt: FakeLibvirt;
  readonly images: FakeImages;
  readonly context: Context;
  readonly warnings: string[];
  readonly path: string;
  /** What is mounted where the volume belongs; null: nothing. */
  mounted: string | null;
  /** The whole mount table, for whoever looks for copies. */
  table: string;
  open(): boolean;
  raw(bytes: Uint8Array): void;
  say(frame: object): void;
  reply(id: number): Promise<Record<string, unknown> | undefined>;
  /** The result, or the error's code and field. */
  ask(verb: string, args: object, budgetMs?: number): Promise<unknown>;
  readonly replies: Record<string, unknown>[];
}

/** See the file's head. */
export function bench(uid = AGENT_UID, clock: Clock = systemClock): Bench {
  const libvirt = new FakeLibvirt();
  const images = new FakeImages();
  const warnings: string[] = [];
  const config = parseConfig(CONFIG, null, PASSWD);
  const leaf = LEAF;
  const made: { mounted: string | null; table: string } = { mounted: 'quobyte@reg1:7861/vol', table: '' };
  const context = createContext({
    settings: { agentUid: AGENT_UID, backends: config.backends, libvirt: config.libvirt },
    libvirt,
    hasLibvirt: () => true,
    images,
    trustQemuImg: () => ({ trusted: true }),
    table: {
      at: (mountpoint) =>
        made.mounted === null
          ? []
          : parseMountTable(`30 1 0:40 / ${mountpoint} rw - fuse.quobyte ${made.mounted} rw,user_id=0,group_id=0\n`),
      below: (directory) => parseMountTable(made.table).filter(({ mountPoint }) => isBelow(mountPoint, directory)),
    },
    clock,
    log: { info: () => undefined, warn: (event) => void warnings.push(event) },
  });
  const [mine, theirs] = pipe();
  const decoder = new FrameDecoder();
  const replies: Record<string, unknown>[] = [];
  mine.onData((bytes) => replies.push(...(decoder.push(bytes).values as Record<string, unknown>[])));
  serve(context, { uid, pid: 1 }, theirs);
  let next = 1;
  let greeting: Promise<unknown> | null = null;
  const greet = (): Promise<unknown> => {
    say({ id: 1, verb: 'hello', version: PROTOCOL_VERSION, budgetMs: 1000 });
    return reply(1);
  };
  const say = (frame: object): void => mine.send(encodeFrame(frame));
  const find = (id: number): Record<string, unknown> | undefined =>
    replies.find((one) => one['id'] === id && !('part' in one));
  const reply = async (id: number): Promise<Record<string, unknown> | undefined> => {
    const end = Date.now() + 5000;
    while (find(id) === undefined && mine.open() && Date.now() < end) await new Promise((done) => setTimeout(done, 1));
    return find(id);
  };
  return Object.assign(made, {
    libvirt,
    images,
    context,
    warnings,
    path: `/mnt/q/${leaf}/disk`,
    open: mine.open,
    raw: (bytes: Uint8Array) => mine.send(bytes),
    say,
    reply,
    replies,
    ask: async (verb: string, args: object, budgetMs = 1000): Promise<unknown> => {
      greeting ??= greet();
      await greeting;
      next += 1;
      const id = next;
      say({ id, verb, budgetMs, ...args });
      const answered = await reply(id);
      if (answered === undefined) return 'hung up';
      const error = answered['error'] as { readonly code: string; readonly field?: string } | undefined;
      return error === undefined ? answered['ok'] : `${error.code} ${error.field ?? ''}`.trim();
    },
  });
}

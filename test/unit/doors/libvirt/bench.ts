// A small world for tests of the libvirt door: one domain, one volume, an engine and a hypervisor process that do what they are asked and
// write down each call, in order. A test may have any one call happen differently.

import { expect } from 'vitest';
import { FairleadError, type ErrorCode } from '../../../../src/core/errors.js';
import type { Domain, DomainDisk, DomainName, DomainUuid, Survey } from '../../../../src/core/domains.js';
import type { DomainDiskRequest, Hypervisor, PlugRequest } from '../../../../src/core/hypervisor-api.js';
import { userOf, type Consumer, type DiskName } from '../../../../src/core/names.js';
import type {
  ConnectReply,
  ConnectRequest,
  DisconnectReply,
  DisconnectRequest,
  Engine,
  ListedMount,
  ListReply,
  RequestContext,
  ValidateReply,
} from '../../../../src/core/requests.js';
import type { VmAttachRequest } from '../../../../src/core/vm-requests.js';
import { leafOf, type Export, type Volume, type VolumeUrl } from '../../../../src/core/volume.js';
import { parseVolume } from '../../../../src/backends/registry.js';
import { createLibvirtDoor, type LibvirtDoor } from '../../../../src/doors/libvirt/door.js';
import { quiet, VirtualClock } from '../../engine/virtual-clock.js';

export const UUID = '11111111-2222-4333-8444-555555555555' as DomainUuid;
export const OTHER_UUID = '99999999-2222-4333-8444-555555555555' as DomainUuid;
export const WEB = 'web' as DomainName;
export const BASE = '/mnt/base';
export const VOLUME = volumeOf('vol');
export const DISK = 'disk' as DiskName;
export const VM = `vm:${UUID}` as Consumer;
export const NOVA = `nova:${UUID}` as Consumer;

/** A volume by its name. */
export function volumeOf(name: string): Volume {
  const exported = `reg/${name}` as Export;
  return { backend: 'quobyte', export: exported, url: `quobyte://reg/${name}` as VolumeUrl, leaf: leafOf(exported) };
}

/** The path of a disk of a volume. */
export function pathOf(disk: string, volume: Volume = VOLUME): string {
  return `${BASE}/${volume.leaf}/${disk}`;
}

/** An error of that code. */
export function error(code: ErrorCode): FairleadError {
  return new FairleadError(code, `Some call ended: ${code}.`);
}

/** Takes the place of one call; `proceed` is what would have happened. */
export type Instead = (proceed: () => Promise<unknown>) => unknown;
/** The call fails and does nothing. */
export const fails =
  (code: ErrorCode): Instead =>
  () => {
    throw error(code);
  };
/** The call does its work, and then nobody hears of it. */
export const loses =
  (code: ErrorCode): Instead =>
  async (proceed) => {
    await proceed();
    throw error(code);
  };

interface Attachment {
  readonly id: string;
  readonly consumer: Consumer;
  readonly disk: DiskName | null;
  orphan?: 'no-domain' | 'unused';
}

/** How a promise ended, or that it has not. */
export interface Watched<T> {
  state: 'open' | 'kept' | 'broken';
  value?: T;
  error?: FairleadError;
}

/** The message of a request that must have failed with that code. */
export function refused({ state, error: failure }: Watched<unknown>, code: ErrorCode): string {
  expect([state, failure?.code]).toEqual(['broken', code]);
  return failure?.message ?? '';
}

export class Bench {
  readonly clock = new VirtualClock();
  /** Calls, in order: `domain`, `connect`, `plug vdb`, `disconnect` … */
  readonly events: string[] = [];
  /** Requests of the calls, by the same index. */
  readonly requests: unknown[] = [];
  readonly logged: string[] = [];
  readonly evidence: (Survey | null)[] = [];
  readonly files = new Set<string>([pathOf(DISK)]);
  readonly attachments = new Map<string, Attachment[]>([[VOLUME.leaf, []]]);
  domains: Domain[] = [{ uuid: UUID, name: 'web', running: true, disks: [], otherFiles: [], remembered: [] }];
  complete = true;
  /** What a look at the volume says. */
  verdict: ValidateReply['verdict'] = 'healthy';
  /** What the engine says that is known of the domains. */
  known: ListReply['domains'] = 'complete';
  /** Whether the host has a libvirt, by what lies there. */
  isExpected = false;
  /** Whether the engine lists a mount that only a hold keeps. */
  isHeld = false;
  readonly listeners = new Set<() => void>();
  readonly door: LibvirtDoor;
  readonly #instead = new Map<string, Instead[]>();
  #ids = 0;

  constructor(enabled: 'auto' | 'yes' = 'auto') {
    this.door = createLibvirtDoor({
      engine: this.#engine() as Engine,
      hypervisor: this.#hypervisor(),
      clock: this.clock,
      log: {
        info: (event) => void this.logged.push(`info ${event}`),
        warn: (event) => void this.logged.push(`warn ${event}`),
      },
      volumes: { parseVolume, mountBaseOf: () => BASE },
      settings: {
        enabled,
        surveyIntervalMs: 60_000,
        isExpected: () => this.isExpected,
        mountBases: ['/mnt/local', BASE],
      },
    });
  }

  /** The next call of that name happens like this instead. */
  once(call: string, ...instead: Instead[]): void {
    this.#instead.set(call, [...(this.#instead.get(call) ?? []), ...instead]);
  }

  /** The domain has this disk. */
  has(disk: Partial<DomainDisk>, index = 0): void {
    const domain = this.domains[index];
    if (domain === undefined) throw new Error('no such domain');
    const whole: DomainDisk = {
      target: 'vdb',
      bus: 'virtio',
      path: pathOf(DISK),
      format: 'raw',
      readOnly: false,
      serial: null,
      live: domain.running,
      persistent: !domain.running,
      ...disk,
    };
    this.domains[index] = { ...domain, disks: [...domain.disks, whole] };
  }

  /** The attachment is recorded. */
  attached(consumer: Consumer, disk: DiskName | null = DISK, volume = VOLUME): string {
    const id = `a${(this.#ids += 1)}`;
    this.attachments.set(volume.leaf, [...(this.attachments.get(volume.leaf) ?? []), { id, consumer, disk }]);
    return id;
  }

  /** Calls that change something. */
  effects(): string[] {
    return this.events.filter((event) => !['domain', 'survey', 'validate'].includes(event));
  }

  /** Asks the door, and lets everything that is ready happen. */
  async ask<T>(work: (context: RequestContext) => Promise<T>, signal?: AbortSignal): Promise<Watched<T>> {
    const watched = this.watch(work({ deadlineMs: 60_000, signal: signal ?? new AbortController().signal }));
    for (let round = 0; round < 20; round += 1) await quiet();
    return watched;
  }

  watch<T>(promise: Promise<T>): Watched<T> {
    const watched: Watched<T> = { state: 'open' };
    promise.then(
      (value) => Object.assign(watched, { state: 'kept', value }),
      (failure: unknown) => Object.assign(watched, { state: 'broken', error: failure }),
    );
    return watched;
  }

  request(different: Partial<VmAttachRequest> = {}): VmAttachRequest {
    return {
      domain: WEB,
      volume: VOLUME,
      disk: DISK,
      format: 'raw',
      target: null,
      bus: 'virtio',
      access: 'read-write',
      options: {},
      scope: 'running',
      create: null,
      ...different,
    };
  }

  async #call<T>(name: string, request: unknown, proceed: () => Promise<T> | T, shown = name): Promise<T> {
    this.events.push(shown);
    this.requests.push(request);
    const instead = this.#instead.get(name)?.shift();
    const usual = (): Promise<T> => Promise.resolve(proceed());
    return (await (instead === undefined ? usual() : instead(usual))) as T;
  }

  #engine(): Partial<Engine> {
    return {
      connect: (request) => this.#call('connect', request, () => this.#connect(request)),
      validate: (volume) =>
        this.#call('validate', volume, () => {
          const { leaf } = volume;
          return { verdict: this.verdict, reason: '', leaf, mountpoint: `${BASE}/${leaf}` };
        }),
      disconnect: (request) => this.#call('disconnect', request, () => this.#disconnect(request)),
      list: () => ({
        mounts: [...this.attachments].map(([leaf, attachments]) => this.#listed(leaf, attachments)),
        setAside: [],
        fault: null,
        broker: 'connected',
        state: 'ready',
        domains: this.known,
      }),
      takeEvidence: (survey) => void this.evidence.push(survey),
    };
  }

  #listed(leaf: string, attachments: readonly Attachment[]): ListedMount {
    const volume = [VOLUME, volumeOf('other')].find((known) => known.leaf === leaf);
    return {
      leaf,
      url: volume?.url ?? null,
      mountpoint: `${BASE}/${leaf}`,
      hold: this.isHeld ? 'inherited' : null,
      attachments: attachments.map((one) => ({ orphan: null, ...one, readOnly: false, since: '' })),
    } as unknown as ListedMount;
  }

  #connect({ volume, disk, consumer }: ConnectRequest): ConnectReply {
    const present = this.#find(volume, consumer, disk);
    const id = present?.id ?? this.attached(consumer, disk, volume);
    const path = pathOf(disk ?? '', volume);
    return {
      attachment: id,
      leaf: volume.leaf,
      mountpoint: `${BASE}/${volume.leaf}`,
      path,
      verdict: 'healthy',
      changed: present === undefined,
      isNew: present === undefined,
      disk: this.files.has(path) ? 'present' : 'absent',
      notes: ['Read-only is advisory here.'],
    };
  }

  #disconnect({ volume, disk, consumer }: DisconnectRequest): DisconnectReply {
    const present = this.#find(volume, consumer, disk);
    const rest = (this.attachments.get(volume.leaf) ?? []).filter((one) => one !== present);
    this.attachments.set(volume.leaf, rest);
    const { leaf } = volume;
    return present === undefined
      ? { outcome: 'not-connected', mounted: false, ending: false, leaf, usedBy: [], holders: [] }
      : { outcome: 'released', mounted: false, ending: false, leaf, usedBy: [], holders: [] };
  }

  #find({ leaf }: Volume, consumer: Consumer, disk: DiskName | null): Attachment | undefined {
    const same = (one: Attachment): boolean => userOf(one.consumer) === userOf(consumer) && one.disk === disk;
    return this.attachments.get(leaf)?.find(same);
  }

  #hypervisor(): Hypervisor {
    return {
      connected: true,
      onConnect: (listener) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
      survey: () => this.#call('survey', null, () => ({ domains: this.domains, complete: this.complete })),
      domain: (name) => this.#call('domain', name, () => this.#domain(name)),
      create: (request) =>
        this.#call('create', request, () => {
          const path = pathOf(request.disk, request.volume);
          const created = !this.files.has(path);
          this.files.add(path);
          return { created };
        }),
      plug: (request) => this.#call('plug', request, () => this.#plug(request), `plug ${request.target}`),
      unplug: (request) => this.#call('unplug', request, () => this.#unplug(request)),
      grow: (request) =>
        this.#call('grow', request, () => ({ changed: true, by: 'hypervisor' as const, bytes: request.bytes })),
      examine: () => this.#call('examine', null, () => []),
    };
  }

  #domain(name: string): Domain {
    const found = this.domains.find((domain) => domain.uuid === name || domain.name === name);
    if (found === undefined) throw error('not-found');
    return found;
  }

  #plug({ domain, volume, disk, target, access, scope }: PlugRequest): { readonly changed: boolean } {
    const { disks, running } = this.#domain(domain);
    const path = pathOf(disk, volume);
    if (disks.some((one) => one.path === path && one.target === target)) return { changed: false };
    if (disks.some((one) => one.target === target)) throw error('conflict');
    const index = this.domains.findIndex(({ uuid }) => uuid === domain);
    const persistent = scope === 'both';
    this.has({ target, path, readOnly: access === 'read-only', live: running, persistent }, index);
    return { changed: true };
  }

  #unplug({ domain, volume, disk }: DomainDiskRequest): { readonly changed: boolean } {
    const found = this.#domain(domain);
    const disks = found.disks.filter(({ path }) => path !== pathOf(disk, volume));
    this.domains = this.domains.map((one) => (one === found ? { ...one, disks } : one));
    return { changed: disks.length < found.disks.length };
  }
}

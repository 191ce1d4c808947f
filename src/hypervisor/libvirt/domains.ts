// Domains, through libvirt: what is known of them, and what is done to their devices. Nothing is decided about disks here, and no
// path is looked at: libvirt is asked, and answers.

import type { Clock } from '../../core/clock.js';
import {
  type Domain,
  type DomainDisk,
  type DomainName,
  type DomainUuid,
  isDomainUuid,
  type Survey,
} from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { MAX_DOMAIN_READS, MAX_LIBVIRT_ACT_CONNECTIONS, MAX_LIBVIRT_READ_CONNECTIONS } from '../../core/limits.js';
import { Acts } from './acts.js';
import { Connections, type ConnectionPorts, dialLibvirt } from './connection.js';
import { type DescribedDisk, type Description, type PoolVolume, readDescription } from './domain-xml.js';
import { LibvirtError, VIR_ERR } from './errors.js';
import type { BlockInfo, DeviceEvent, DeviceScope, Libvirt, LibvirtOptions } from './libvirt.js';
import { AFFECT_CONFIG, AFFECT_LIVE, RESIZE_BYTES, type WireDomain, XML_INACTIVE } from './procedures.js';
import { uuidBytes } from './uuid.js';

/** libvirt at its socket. Nothing is connected yet. */
export function openLibvirt(options: LibvirtOptions): Libvirt {
  const { clock, uri, socket } = options;
  return libvirtOver({ clock, uri, dial: () => dialLibvirt(socket) });
}

/** What is needed to reach libvirt. */
type Dialled = Pick<ConnectionPorts, 'clock' | 'uri' | 'dial'>;

/** libvirt over whatever is dialled. */
export function libvirtOver(ports: Dialled): Libvirt {
  return new Domains(ports);
}

const SCOPES: Readonly<Record<DeviceScope, number>> = {
  live: AFFECT_LIVE,
  config: AFFECT_CONFIG,
  both: AFFECT_LIVE | AFFECT_CONFIG,
};

/** A domain, and whether every file of it is known. */
interface Read {
  readonly domain: Domain;
  readonly complete: boolean;
}

class Domains implements Libvirt {
  readonly #clock: Clock;
  /** What only reads has connections of its own, so that no guest which hangs can keep a survey from being made. */
  readonly #reads: Connections;
  readonly #acts: Acts;
  readonly #actConnections: Connections;
  readonly #listeners = new Set<(event: DeviceEvent) => void>();

  constructor({ clock, uri, dial }: Dialled) {
    this.#clock = clock;
    this.#reads = new Connections({
      clock,
      uri,
      dial,
      maxConnections: MAX_LIBVIRT_READ_CONNECTIONS,
      onEvent: (event) => this.#tell(event),
      late: 'retire',
    });
    this.#actConnections = new Connections({
      clock,
      uri,
      dial,
      maxConnections: MAX_LIBVIRT_ACT_CONNECTIONS,
      onEvent: null,
      late: 'keep',
    });
    this.#acts = new Acts(clock, this.#actConnections);
  }

  async survey(budgetMs: number): Promise<Survey> {
    const until = this.#clock.now() + budgetMs;
    const listed = await this.#reads.call('connectListAllDomains', { needResults: 1, flags: 0 }, until);
    const waiting = [...listed.domains];
    const domains: Domain[] = [];
    let complete = listed.count === listed.domains.length;
    const work = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        try {
          const read = await this.#read(next, until);
          domains.push(read.domain);
          complete &&= read.complete;
        } catch (error) {
          if (!(error instanceof FairleadError)) throw error;
          if (codeOf(error) !== VIR_ERR.noDomain) complete = false;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(MAX_DOMAIN_READS, waiting.length) }, work));
    return { domains, complete };
  }

  async domain(name: DomainName, budgetMs: number): Promise<Domain> {
    const until = this.#clock.now() + budgetMs;
    return (await this.#read(await this.#find(name, until), until)).domain;
  }

  async attachDevice(domain: DomainUuid, xml: string, scope: DeviceScope, budgetMs: number): Promise<void> {
    const until = this.#clock.now() + budgetMs;
    await this.#acts.call(
      domain,
      'domainAttachDeviceFlags',
      { domain: wire(domain), xml, flags: SCOPES[scope] },
      until,
    );
  }

  async detachDevice(domain: DomainUuid, xml: string, scope: DeviceScope, budgetMs: number): Promise<void> {
    const until = this.#clock.now() + budgetMs;
    await this.#acts.call(
      domain,
      'domainDetachDeviceFlags',
      { domain: wire(domain), xml, flags: SCOPES[scope] },
      until,
    );
  }

  async blockResize(domain: DomainUuid, target: string, bytes: number, budgetMs: number): Promise<void> {
    const until = this.#clock.now() + budgetMs;
    const args = { domain: wire(domain), disk: target, size: bytes, flags: RESIZE_BYTES };
    await this.#acts.call(domain, 'domainBlockResize', args, until);
  }

  async blockInfo(domain: DomainUuid, target: string, budgetMs: number): Promise<BlockInfo> {
    const until = this.#clock.now() + budgetMs;
    return this.#acts.call(domain, 'domainGetBlockInfo', { domain: wire(domain), path: target, flags: 0 }, until);
  }

  onDevice(listener: (event: DeviceEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  close(): void {
    this.#reads.close();
    this.#actConnections.close();
  }

  #tell(event: DeviceEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async #find(name: DomainName, until: number): Promise<WireDomain> {
    const text: string = name;
    if (isDomainUuid(text)) {
      try {
        return (await this.#reads.call('domainLookupByUuid', { uuid: uuidBytes(text) }, until)).domain;
      } catch (error) {
        // A domain may have another's UUID for a name.
        if (codeOf(error) !== VIR_ERR.noDomain) throw error;
      }
    }
    return (await this.#reads.call('domainLookupByName', { name }, until)).domain;
  }

  /**
   * The domain as it is and as it will be at its next start. A running one has two descriptions, unless it is transient; a
   * stopped one that was put to sleep (virsh managedsave) wakes up with the devices that it had then.
   */
  async #read(domain: WireDomain, until: number): Promise<Read> {
    const now = readDescription((await this.#reads.call('domainGetXmlDesc', { domain, flags: 0 }, until)).xml);
    const next = now.running ? await this.#nextStart(domain, until) : [now, ...(await this.#asleep(domain, until))];
    const live = now.running ? [now] : [];
    const all = [...live, ...next];
    const volumes = await this.#paths(
      all.flatMap(({ poolVolumes }) => poolVolumes),
      until,
    );
    return {
      domain: {
        uuid: now.uuid,
        name: now.name,
        running: now.running,
        disks: merged(live, next),
        otherFiles: [...new Set([...all.flatMap(({ otherFiles }) => otherFiles), ...volumes.paths])],
      },
      complete: volumes.complete,
    };
  }

  async #nextStart(domain: WireDomain, until: number): Promise<readonly Description[]> {
    const { persistent } = await this.#reads.call('domainIsPersistent', { domain }, until);
    if (persistent === 0) return [];
    const { xml } = await this.#reads.call('domainGetXmlDesc', { domain, flags: XML_INACTIVE }, until);
    return [readDescription(xml)];
  }

  async #asleep(domain: WireDomain, until: number): Promise<readonly Description[]> {
    try {
      const { has } = await this.#reads.call('domainHasManagedSaveImage', { domain, flags: 0 }, until);
      if (has === 0) return [];
      const { xml } = await this.#reads.call('domainManagedSaveGetXmlDesc', { domain, flags: 0 }, until);
      return [readDescription(xml)];
    } catch (error) {
      // A driver that cannot put domains to sleep.
      if (codeOf(error) === VIR_ERR.noSupport) return [];
      throw error;
    }
  }

  /** Where volumes of libvirt's own pools lie. A pool or volume that libvirt does not find leaves the answer incomplete. */
  async #paths(
    volumes: readonly PoolVolume[],
    until: number,
  ): Promise<{ readonly paths: readonly string[]; readonly complete: boolean }> {
    const paths: string[] = [];
    let complete = true;
    for (const { pool: poolName, volume: name } of volumes) {
      try {
        const { pool } = await this.#reads.call('storagePoolLookupByName', { name: poolName }, until);
        const { volume } = await this.#reads.call('storageVolLookupByName', { pool, name }, until);
        paths.push((await this.#reads.call('storageVolGetPath', { volume }, until)).path);
      } catch (error) {
        if (codeOf(error) === null) throw error;
        complete = false;
      }
    }
    return { paths, complete };
  }
}

/** libvirt's own code, where it is libvirt that failed. */
function codeOf(error: unknown): number | null {
  return error instanceof FairleadError && error.cause instanceof LibvirtError ? error.cause.code : null;
}

/** libvirt finds a domain by its UUID; the rest only has to be there. */
function wire(uuid: DomainUuid): WireDomain {
  return { name: uuid, uuid: uuidBytes(uuid), id: -1 };
}

/** One list of all disks: one that is the same in both descriptions stands there once. */
function merged(live: readonly Description[], next: readonly Description[]): readonly DomainDisk[] {
  const disks = new Map<string, DomainDisk>();
  const add = (disk: DescribedDisk, seen: Partial<DomainDisk>): void => {
    const key = JSON.stringify([disk.target, disk.bus, disk.path, disk.format, disk.readOnly, disk.serial]);
    disks.set(key, { ...disk, live: false, persistent: false, ...disks.get(key), ...seen });
  };
  for (const disk of live.flatMap((one) => one.disks)) add(disk, { live: true });
  for (const disk of next.flatMap((one) => one.disks)) add(disk, { persistent: true });
  return [...disks.values()];
}

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
import {
  MAX_DOMAIN_READS,
  MAX_LIBVIRT_ACT_CONNECTIONS,
  MAX_LIBVIRT_READ_CONNECTIONS,
  MAX_SNAPSHOTS_READ,
} from '../../core/limits.js';
import { Acts } from './acts.js';
import { Connections, type ConnectionPorts, dialLibvirt } from './connection.js';
import { type DescribedDisk, type Description, readDescription } from './domain-xml.js';
import { LibvirtError, VIR_ERR } from './errors.js';
import type { BlockInfo, DeviceEvent, DeviceScope, Libvirt, LibvirtOptions } from './libvirt.js';
import {
  AFFECT_CONFIG,
  AFFECT_LIVE,
  LIST_HAS_CHECKPOINT,
  LIST_HAS_SNAPSHOT,
  RESIZE_BYTES,
  type WireDomain,
  XML_INACTIVE,
} from './procedures.js';
import { uuidBytes, uuidText } from './uuid.js';
import { type NamedFiles, readNamedFiles } from './xml-files.js';

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

/** What a part of a domain names, and whether that is all. */
interface Told {
  readonly named: readonly NamedFiles[];
  readonly complete: boolean;
}

const NOTHING: Told = { named: [], complete: true };

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
    const past = await Promise.all(PAST.map(async (kind) => ({ kind, having: await this.#having(kind, until) })));
    const waiting = [...listed.domains];
    const domains: Domain[] = [];
    let complete = listed.count === listed.domains.length;
    const work = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        try {
          const uuid = uuidText(next.uuid);
          const kinds = past.filter(({ having }) => having?.has(uuid) !== false).map(({ kind }) => kind);
          const read = await this.#read(next, until, kinds);
          domains.push(read);
          complete &&= read.unknown !== 'files';
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
    return await this.#read(await this.#find(name, until), until, PAST);
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
   * The domain as it is and as it will be at its next start. A running one has two descriptions, unless it is
   * transient; a stopped one that was put to sleep (virsh managedsave) wakes up with the devices that it had then.
   * `kinds`: what it may have of the past.
   */
  async #read(domain: WireDomain, until: number, kinds: readonly Past[]): Promise<Domain> {
    const now = readDescription((await this.#reads.call('domainGetXmlDesc', { domain, flags: 0 }, until)).xml);
    const next = now.running ? await this.#nextStart(domain, until) : [now, ...(await this.#asleep(domain, until))];
    const live = now.running ? [now] : [];
    const backup = now.running ? await this.#asFarAsTold((tell) => this.#backup(domain, until, tell)) : NOTHING;
    const past = await this.#asFarAsTold((tell) => this.#past(domain, until, kinds, tell));
    const has = await this.#resolved([...live, ...next, ...backup.named], until);
    const remembered = await this.#resolved(past.named, until);
    const isWhole = [backup, past, has, remembered].every(({ complete }) => complete);
    const unknown = isWhole ? (isUntold(live, next) ? 'backing' : null) : 'files';
    return {
      uuid: now.uuid,
      name: now.name,
      running: now.running,
      disks: merged(live, next),
      otherFiles: has.files,
      remembered: remembered.files,
      ...(unknown === null ? {} : { unknown }),
    };
  }

  async #nextStart(domain: WireDomain, until: number): Promise<readonly Description[]> {
    const { persistent } = await this.#reads.call('domainIsPersistent', { domain }, until);
    if (persistent === 0) return [];
    const { xml } = await this.#reads.call('domainGetXmlDesc', { domain, flags: XML_INACTIVE }, until);
    return [readDescription(xml)];
  }

  async #asleep(domain: WireDomain, until: number): Promise<readonly Description[]> {
    // A driver may not be able to put domains to sleep.
    return this.#unless([VIR_ERR.noSupport], [], async () => {
      const { has } = await this.#reads.call('domainHasManagedSaveImage', { domain, flags: 0 }, until);
      if (has === 0) return [];
      const { xml } = await this.#reads.call('domainManagedSaveGetXmlDesc', { domain, flags: 0 }, until);
      return [readDescription(xml)];
    });
  }

  /** The backup that is being made: its scratch files, and where it goes. */
  async #backup(domain: WireDomain, until: number, tell: (named: NamedFiles) => void): Promise<boolean> {
    const { noDomainBackup, noSupport } = VIR_ERR;
    await this.#unless([noDomainBackup, noSupport], undefined, async () => {
      const { xml } = await this.#reads.call('domainBackupGetXmlDesc', { domain, flags: 0 }, until);
      tell(readNamedFiles(xml, 'domainbackup'));
    });
    return true;
  }

  /** What snapshots and checkpoints name; of very many only some, and then not all. */
  async #past(
    domain: WireDomain,
    until: number,
    kinds: readonly Past[],
    tell: (named: NamedFiles) => void,
  ): Promise<boolean> {
    let complete = true;
    for (const { list, describe, root, gone } of kinds) {
      const all = await this.#unless([VIR_ERR.noSupport], [], async () => {
        const listed = await this.#reads.call(list, { domain, needResults: 1, flags: 0 }, until);
        complete &&= listed.count === listed.snapshots.length;
        return listed.snapshots;
      });
      complete &&= all.length <= MAX_SNAPSHOTS_READ;
      for (const snapshot of all.slice(0, MAX_SNAPSHOTS_READ)) {
        await this.#unless([gone], undefined, async () => {
          tell(readNamedFiles((await this.#reads.call(describe, { snapshot, flags: 0 }, until)).xml, root));
        });
      }
    }
    return complete;
  }

  /**
   * The domains that have snapshots, or checkpoints; null where libvirt cannot tell at once, so that each has to be
   * asked.
   */
  async #having({ filter }: Past, until: number): Promise<ReadonlySet<string> | null> {
    try {
      const { domains, count } = await this.#reads.call(
        'connectListAllDomains',
        { needResults: 1, flags: filter },
        until,
      );
      return count === domains.length ? new Set(domains.map(({ uuid }) => uuidText(uuid))) : null;
    } catch (error) {
      if (codeOf(error) === null) throw error;
      return null;
    }
  }

  /** What was told before libvirt failed, if it did: the rest of the domain is worth knowing all the same. */
  async #asFarAsTold(read: (tell: (named: NamedFiles) => void) => Promise<boolean>): Promise<Told> {
    const named: NamedFiles[] = [];
    try {
      return { named, complete: await read((one) => named.push(one)) };
    } catch (error) {
      if (!(error instanceof FairleadError) || codeOf(error) === VIR_ERR.noDomain) throw error;
      return { named, complete: false };
    }
  }

  /** What libvirt answers, or something else where it answers one of these errors. */
  async #unless<T>(codes: readonly number[], otherwise: T, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      const code = codeOf(error);
      if (code === null || !codes.includes(code)) throw error;
      return otherwise;
    }
  }

  /**
   * All files, each once, those in volumes of libvirt's own pools too. A pool or volume that libvirt does not find
   * leaves the answer incomplete.
   */
  async #resolved(
    named: readonly NamedFiles[],
    until: number,
  ): Promise<{ readonly files: readonly string[]; readonly complete: boolean }> {
    const files = new Set(named.flatMap((one) => one.files));
    let complete = true;
    for (const { pool: poolName, volume: name } of named.flatMap(({ poolVolumes }) => poolVolumes)) {
      try {
        const { pool } = await this.#reads.call('storagePoolLookupByName', { name: poolName }, until);
        const { volume } = await this.#reads.call('storageVolLookupByName', { pool, name }, until);
        files.add((await this.#reads.call('storageVolGetPath', { volume }, until)).path);
      } catch (error) {
        if (codeOf(error) === null) throw error;
        complete = false;
      }
    }
    return { files: [...files], complete };
  }
}

/** What libvirt remembers of a domain, and how it is asked for that; `filter`: of virConnectListAllDomainsFlags. */
const PAST = [
  {
    filter: LIST_HAS_SNAPSHOT,
    list: 'domainListAllSnapshots',
    describe: 'domainSnapshotGetXmlDesc',
    root: 'domainsnapshot',
    gone: VIR_ERR.noDomainSnapshot,
  },
  {
    filter: LIST_HAS_CHECKPOINT,
    list: 'domainListAllCheckpoints',
    describe: 'domainCheckpointGetXmlDesc',
    root: 'domaincheckpoint',
    gone: VIR_ERR.noDomainCheckpoint,
  },
] as const;

type Past = (typeof PAST)[number];

/**
 * Whether some image may rest on files of which nobody told: what a running domain has is told, and is the same at
 * its next start.
 */
function isUntold(live: readonly Description[], next: readonly Description[]): boolean {
  const told = new Set(
    live.flatMap(({ disks, untold }) =>
      disks.flatMap(({ path }) => path ?? []).filter((path) => !untold.includes(path)),
    ),
  );
  return [...live, ...next].some(({ untold }) => untold.some((one) => !told.has(one)));
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

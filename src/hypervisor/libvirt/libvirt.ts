// What the hypervisor process asks of libvirt. Types only: the operations are in domains.ts, and the connection below them speaks
// libvirt's own RPC protocol. No decision about disks is made in this room.

import type { Clock } from '../../core/clock.js';
import type { Domain, DomainName, DomainUuid, Survey } from '../../core/domains.js';

/** Which description of a domain a device is put into or taken from: the running one, that of the next start, or both. */
export type DeviceScope = 'live' | 'config' | 'both';

/** Sizes of a domain's disk, bytes (virDomainGetBlockInfo). */
export interface BlockInfo {
  /** What the guest sees. */
  readonly capacity: number;
  /** What the image takes on its filesystem. */
  readonly allocation: number;
  /** The size of the image's file. */
  readonly physical: number;
}

/** A running domain's device that is gone, or that the guest kept. A hint to look at the domain again, never the truth itself. */
export interface DeviceEvent {
  readonly domain: DomainUuid;
  /** libvirt's name of the device (its alias). */
  readonly alias: string;
  readonly what: 'removed' | 'kept';
}

/** Where libvirt is. */
export interface LibvirtOptions {
  /** Path of its socket; empty: the first of {@link LIBVIRT_SOCKETS} that is there. */
  readonly socket: string;
  /** Which of its drivers: `qemu:///system`. */
  readonly uri: string;
  readonly clock: Clock;
}

/** libvirt's sockets on a host, in the order in which they are tried: the one of libvirtd or its proxy, and virtqemud's. */
export const LIBVIRT_SOCKETS = ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'] as const;

/**
 * libvirt. Connects when it is first asked and again after every loss. Every call ends within its budget (milliseconds); what fails is a
 * `FairleadError`: `unavailable` (no libvirt, or its connection was lost), `deadline-exceeded`, `not-found` (no such domain or
 * device), `conflict`, `busy`, `permission-denied`, `invalid-argument`, `helper-failed`. A
 * `LibvirtError` as its cause has libvirt's own code.
 * After `unavailable` and `deadline-exceeded` nobody knows whether libvirt did what was asked, or still will: look at the domain.
 */
export interface Libvirt {
  /** All domains. One that ends to exist meanwhile is left out; any other failure makes the survey incomplete. */
  survey(budgetMs: number): Promise<Survey>;
  domain(name: DomainName, budgetMs: number): Promise<Domain>;
  /** `live` and `both` need a running domain, `config` and `both` a persistent one. */
  attachDevice(domain: DomainUuid, xml: string, scope: DeviceScope, budgetMs: number): Promise<void>;
  /**
   * Ends when the guest has let go, or 5 s after libvirt has told it (qemuDomainRemoveDeviceWaitTime): then it lets go later, or not at
   * all. Look at the domain, and give it a budget of more than those 5 s.
   */
  detachDevice(domain: DomainUuid, xml: string, scope: DeviceScope, budgetMs: number): Promise<void>;
  /** Sets the size of a running domain's disk, by its target (`vdb`); bytes. */
  blockResize(domain: DomainUuid, target: string, bytes: number, budgetMs: number): Promise<void>;
  /** Of a domain's disk, by its target (`vdb`). For a stopped domain libvirt opens the file itself. */
  blockInfo(domain: DomainUuid, target: string, budgetMs: number): Promise<BlockInfo>;
  /** Calls the listener for each event while there is a connection, until the returned function is called. */
  onDevice(listener: (event: DeviceEvent) => void): () => void;
  /** Ends the connection for good; what waits ends with `unavailable`. */
  close(): void;
}

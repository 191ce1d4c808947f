// What the agent may ask of the hypervisor process: the third process, which alone holds a libvirt connection and alone starts
// qemu-img. It parses everything again, judges volumes by its own reading of the configuration, and writes the XML and every
// command line itself: only names, sizes and choices travel.

import type { Finding } from './broker-api.js';
import type { DiskBus, DiskFormat, DiskOptions } from './disk.js';
import type { Domain, DomainName, DomainUuid, Survey } from './domains.js';
import type { DiskName } from './names.js';
import type { Access } from './verdict.js';
import type { Volume } from './volume.js';

/** Which disk of which domain. */
export interface DomainDiskRequest {
  readonly domain: DomainUuid;
  readonly volume: Volume;
  readonly disk: DiskName;
}

/** A disk to be hot-plugged. */
export interface PlugRequest extends DomainDiskRequest {
  readonly format: DiskFormat;
  /** The guest's device name. */
  readonly target: string;
  readonly bus: DiskBus;
  readonly access: Access;
  readonly options: DiskOptions;
  /** `both`: at the next start too. A stopped domain can only be told of its next start. */
  readonly scope: 'running' | 'both';
}

/** A disk that is wanted in a volume. */
export interface CreateRequest {
  readonly volume: Volume;
  readonly disk: DiskName;
  readonly format: DiskFormat;
  /** The size that the guest will see, bytes; a multiple of 512. */
  readonly bytes: number;
}

/**
 * The hypervisor process, from the agent's side. Every call ends within `budgetMs` plus a short grace; failures are FairleadErrors:
 * `unavailable` when there is no such process or libvirt does not answer, `not-found` for a domain or disk that is not there.
 */
export interface Hypervisor {
  /** All domains, running and stopped. */
  survey(budgetMs: number): Promise<Survey>;
  domain(name: DomainName, budgetMs: number): Promise<Domain>;
  /** Makes an image, unless the file exists: then nothing is touched, whatever is in it (`created` is false). */
  create(request: CreateRequest, budgetMs: number): Promise<{ readonly created: boolean }>;
  /**
   * The domain has the disk afterwards, seen in its XML. `conflict` when the target is taken by another disk, or the domain
   * has this file at another target or in another way; `permission-denied` for a qcow2 that names files outside its volume.
   */
  plug(request: PlugRequest, budgetMs: number): Promise<{ readonly changed: boolean }>;
  /**
   * The domain has the disk no longer, running or stopped, seen in its XML. `busy` when the guest did not let go within the budget: the
   * disk is still there then.
   */
  unplug(request: DomainDiskRequest, budgetMs: number): Promise<{ readonly changed: boolean }>;
  /**
   * Grows a disk to `bytes`: through QEMU where a running domain has it (`hypervisor`), through qemu-img where none has it (`image`).
   * A disk is never made smaller (`invalid-argument`); one that has the size already is left alone.
   */
  grow(
    request: DomainDiskRequest & { readonly format: DiskFormat; readonly bytes: number },
    budgetMs: number,
  ): Promise<{ readonly changed: boolean; readonly by: 'hypervisor' | 'image'; readonly bytes: number }>;
  /**
   * What is wrong with libvirt, qemu-img and the image user, as this process sees it. Nothing is wrong where `enabled` is `auto` and the
   * host has no libvirt socket.
   */
  examine(budgetMs: number): Promise<readonly Finding[]>;
  /** Calls the listener each time a connection to the process has been made, until the returned function is called. */
  onConnect(listener: () => void): () => void;
  readonly connected: boolean;
}

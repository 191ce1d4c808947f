// What the handlers of the hypervisor process work with. Everything they do to the world goes through these ports; nothing of it is
// kept: all state is libvirt's, the volumes' and the kernel's.

import type { SettingsByBackend } from '../backends/backend.js';
import type { LibvirtSettings } from '../config.js';
import type { Clock } from '../core/clock.js';
import { KeyLocks } from '../core/key-locks.js';
import type { MountTable } from '../sys/ports.js';
import type { Trust } from '../sys/trust.js';
import type { ImageWork } from './images.js';
import type { Libvirt } from './libvirt/libvirt.js';

/** What this process's own reading of the configuration says. */
export interface HypervisorSettings {
  /** The only user, besides root, that may connect. */
  readonly agentUid: number;
  readonly backends: SettingsByBackend;
  readonly libvirt: LibvirtSettings;
}

/** Events for the log. Fields never hold an export, a URL or XML; a mount is named by its leaf, a domain by its UUID. */
export interface HypervisorLog {
  info(event: string, fields: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields: Readonly<Record<string, unknown>>): void;
}

/** What the composition root gives. */
export interface HypervisorPorts {
  readonly settings: HypervisorSettings;
  readonly libvirt: Libvirt;
  /** Whether the host has a socket of libvirt where the configuration expects one. */
  readonly hasLibvirt: () => boolean;
  readonly images: ImageWork;
  readonly trustQemuImg: () => Trust;
  readonly table: Pick<MountTable, 'at' | 'below'>;
  readonly clock: Clock;
  readonly log: HypervisorLog;
}

/** The process's state: locks, and nothing else. */
export interface Context extends HypervisorPorts {
  /** Of domains (by UUID) and disks (by path). */
  readonly locks: KeyLocks;
}

/** A process that has done nothing yet. */
export function createContext(ports: HypervisorPorts): Context {
  return { ...ports, locks: new KeyLocks(ports.clock) };
}

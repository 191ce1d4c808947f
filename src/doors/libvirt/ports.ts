// What the libvirt door needs of the house. It sees guests through the hypervisor process and volumes through the engine.

import type { Clock } from '../../core/clock.js';
import type { Hypervisor } from '../../core/hypervisor-api.js';
import type { Engine } from '../../core/requests.js';
import type { VolumeFacts } from '../route.js';

/** Where the door's events are written. */
export interface EventLog {
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** The door's settings, from `[libvirt]`. */
export interface LibvirtDoorSettings {
  /** `auto`: a host without libvirt is no fault. */
  readonly enabled: 'auto' | 'yes';
  readonly surveyIntervalMs: number;
  /** Whether this host has a libvirt, as far as anybody can tell without it. */
  isExpected(): boolean;
  /** The directories below which volumes are mounted, of all backends. */
  readonly mountBases: readonly string[];
}

/** What the door works with. */
export interface LibvirtDoorPorts {
  readonly engine: Engine;
  readonly hypervisor: Hypervisor;
  readonly clock: Clock;
  readonly log: EventLog;
  readonly volumes: Pick<VolumeFacts, 'parseVolume' | 'mountBaseOf'>;
  readonly settings: LibvirtDoorSettings;
}

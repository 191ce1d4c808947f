// The libvirt door: disks of volumes become disks of virtual machines. It puts the engine's and the hypervisor process's answers together
// and decides nothing about mounts.

import type { VmDoor } from '../../core/vm-requests.js';
import { attach } from './attach.js';
import { Begun } from './begun.js';
import { detach } from './detach.js';
import { extend } from './extend.js';
import { findings } from './findings.js';
import { list } from './list.js';
import type { LibvirtDoorPorts } from './ports.js';
import { startSurveyor } from './surveyor.js';
import { Turns } from './turns.js';

/** A door that reads domains by itself between {@link LibvirtDoor.start} and {@link LibvirtDoor.stop}. */
export interface LibvirtDoor extends VmDoor {
  /** Begins to survey; the engine has been started. */
  start(): void;
  stop(): void;
}

/** Makes the door. */
export function createLibvirtDoor(ports: LibvirtDoorPorts): LibvirtDoor {
  const turns = new Turns(ports.clock);
  const begun = new Begun();
  let stop: (() => void) | null = null;
  return {
    attach: (request, context) => logged(ports, 'vm-attach', attach(ports, turns, request, context)),
    detach: (request, context) => logged(ports, 'vm-detach', detach(ports, turns, begun, request, context)),
    extend: (request, context) => logged(ports, 'vm-extend', extend(ports, turns, request, context)),
    list: (context) => list(ports, turns, context),
    findings: (context) => findings(ports, context),
    start: () => {
      stop ??= startSurveyor(ports);
    },
    stop: () => {
      stop?.();
      stop = null;
    },
  };
}

/** One line for each request that may change something: which domain, which leaf, and how it ended. */
async function logged<
  Reply extends {
    readonly domain: { readonly uuid: string };
    readonly leaf: string;
    readonly target: string | null;
    readonly changed: boolean;
  },
>({ log }: LibvirtDoorPorts, event: string, work: Promise<Reply>): Promise<Reply> {
  try {
    const reply = await work;
    const { domain, leaf, target, changed } = reply;
    log.info(event, { domain: domain.uuid, leaf, target, changed });
    return reply;
  } catch (error) {
    log.warn(`${event}-failed`, { error });
    throw error;
  }
}

// What `doctor` says of guests' disks: what the hypervisor process finds, or that there is none; and that libvirt has gone while guests have
// disks, which the hypervisor process does not know of.

import type { Finding } from '../../core/broker-api.js';
import { Deadline } from '../../core/deadline.js';
import { FairleadError } from '../../core/errors.js';
import type { RequestContext } from '../../core/requests.js';
import { adviceForSilent } from '../../core/silent.js';
import { uuidOf } from './ours.js';
import type { LibvirtDoorPorts } from './ports.js';

/** As the hypervisor process calls it, too. */
const LIBVIRT = 'libvirt';

/** What is wrong. Without a hypervisor process that itself is a finding, not a failure. */
export async function findings(ports: LibvirtDoorPorts, { deadlineMs }: RequestContext): Promise<readonly Finding[]> {
  const { hypervisor, settings, clock } = ports;
  const deadline = new Deadline(clock, deadlineMs);
  try {
    const found = await hypervisor.examine(deadlineMs);
    const isTold = found.some(({ subject }) => subject === LIBVIRT);
    return isTold ? found : [...found, ...(await libvirtGone(ports, deadline))];
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return [
      {
        subject: 'hypervisor process',
        severity: settings.enabled === 'yes' ? 'error' : 'warning',
        message: `It does not answer, so disks of guests cannot be served: ${error.message}`,
        mend: `${adviceForSilent('hypervisor', error)} Where no guests are served: [libvirt] enabled = "no".`,
      },
    ];
  }
}

/**
 * A host that never had a libvirt lacks nothing. One whose guests have disks does, and so does one that has a libvirt
 * and mounts whose users only the domains tell.
 */
async function libvirtGone(
  { engine, hypervisor, settings }: LibvirtDoorPorts,
  deadline: Deadline,
): Promise<readonly Finding[]> {
  const { domains, mounts } = engine.list();
  const haveDisks = mounts.some(({ attachments }) => attachments.some(({ consumer }) => uuidOf(consumer) !== null));
  const areHeld = mounts.some(({ hold }) => hold !== null) && settings.isExpected();
  if (domains !== 'unknown' || !(haveDisks || areHeld)) return [];
  try {
    // It may only not have been read yet.
    await hypervisor.survey(Math.max(1, deadline.remaining * 0.8));
    return [];
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return [
      {
        subject: LIBVIRT,
        severity: 'error',
        message: `${haveDisks ? 'Guests have disks of volumes' : 'Guests may use mounts that were found without a record'}, and their libvirt does not answer: ${error.message}`,
        mend: 'systemctl start libvirtd (or virtqemud); where there are no guests any more: [libvirt] enabled = "no"',
      },
    ];
  }
}

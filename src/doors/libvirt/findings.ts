// What `doctor` says of guests' disks: what the hypervisor process finds, or that there is none.

import type { Finding } from '../../core/broker-api.js';
import { FairleadError } from '../../core/errors.js';
import type { RequestContext } from '../../core/requests.js';
import type { LibvirtDoorPorts } from './ports.js';

/** What is wrong. Without a hypervisor process that itself is a finding, not a failure. */
export async function findings(
  { hypervisor, settings }: LibvirtDoorPorts,
  { deadlineMs }: RequestContext,
): Promise<readonly Finding[]> {
  try {
    return await hypervisor.examine(deadlineMs);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return [
      {
        subject: 'hypervisor process',
        severity: settings.enabled === 'yes' ? 'error' : 'warning',
        message: `It does not answer, so disks of guests cannot be served: ${error.message}`,
        mend: 'fairlead up restarts it; if it does not, look at its log lines. Where no guests are served: [libvirt] enabled = "no".',
      },
    ];
  }
}

// Extend: a disk that a domain has grows, through QEMU while the domain runs, through qemu-img while it does not. Saying it again changes
// nothing; no disk ever becomes smaller.

import { Deadline } from '../../core/deadline.js';
import { parseDiskFormat } from '../../core/disk.js';
import { FairleadError } from '../../core/errors.js';
import type { RequestContext } from '../../core/requests.js';
import type { VmExtendReply, VmExtendRequest } from '../../core/vm-requests.js';
import { answerInTime, stepTime } from './operation.js';
import { diskAt } from './ours.js';
import type { LibvirtDoorPorts } from './ports.js';
import { diskTurn, type Turns } from './turns.js';

/** Grows the disk at a domain's target. */
export async function extend(
  ports: LibvirtDoorPorts,
  turns: Turns,
  { domain: name, target, bytes }: VmExtendRequest,
  context: RequestContext,
): Promise<VmExtendReply> {
  const deadline = new Deadline(ports.clock, context.deadlineMs);
  return await answerInTime(ports, deadline, async () => {
    const domain = await ports.hypervisor.domain(name, deadline.remaining);
    const { described, volume, disk, path } = diskAt(ports, domain, target);
    if (described.format === null) {
      throw new FairleadError(
        'conflict',
        "The domain's description does not say whether this disk is raw or qcow2, and a format is never guessed. Attach it with fairlead vm attach, or say its format with virsh edit.",
        { field: 'target', leaf: volume.leaf },
      );
    }
    const format = parseDiskFormat(described.format, 'format');
    const { uuid } = domain;
    const grown = await turns.take(diskTurn(uuid, volume.leaf, disk), deadline, context.signal, () =>
      ports.hypervisor.grow({ domain: uuid, volume, disk, format, bytes }, stepTime(deadline, 'look')),
    );
    return { domain: { uuid, name: domain.name }, target, leaf: volume.leaf, path, ...grown };
  });
}

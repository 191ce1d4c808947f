// The list: which domains have which disks in volumes of ours, and the attachments whose domain or disk is not there. Two truths side by
// side, libvirt's and the ledger's; nothing is changed.

import { filesOf, filesOnLeaves } from '../../core/domain-use.js';
import type { Domain, DomainDisk } from '../../core/domains.js';
import type { ListReply, RequestContext } from '../../core/requests.js';
import type { ListedVmDisk, ListedVmOrphan, VmListReply } from '../../core/vm-requests.js';
import type { Leaf } from '../../core/volume.js';
import { attachmentOf, placeOf, uuidOf } from './ours.js';
import type { LibvirtDoorPorts } from './ports.js';
import { diskTurn, type Turns } from './turns.js';

/** All of them, as they are now. */
export async function list(
  ports: LibvirtDoorPorts,
  turns: Turns,
  { deadlineMs }: RequestContext,
): Promise<VmListReply> {
  const settled = settledAttachments(ports.engine.list(), turns);
  const survey = await ports.hypervisor.survey(deadlineMs);
  const listed = ports.engine.list();
  const disks = survey.domains.flatMap((domain) =>
    domain.disks.flatMap((disk) => listedDisk(listed, domain, disk, ports.settings.mountBases)),
  );
  return {
    disks: disks.sort(inOrder),
    orphans: survey.complete ? orphans(listed, survey.domains).filter((one) => settled.has(one.attachment)) : [],
    complete: survey.complete,
  };
}

/** Those that no operation of this door is at work on: in the middle of an attach an attachment has no disk yet. */
function settledAttachments({ mounts }: ListReply, turns: Turns): ReadonlySet<string> {
  const all = mounts.flatMap(({ leaf, attachments }) => attachments.map((one) => ({ ...one, leaf })));
  const settled = all.filter(({ leaf, consumer, disk }) => {
    const uuid = uuidOf(consumer);
    return uuid === null || disk === null || !turns.isTaken(diskTurn(uuid, leaf, disk));
  });
  return new Set(settled.map(({ id }) => id));
}

function listedDisk(
  listed: ListReply,
  { uuid, name, running }: Domain,
  { path, target, format, readOnly, live, persistent }: DomainDisk,
  mountBases: readonly string[],
): ListedVmDisk[] {
  const place = path === null ? null : placeOf(path, mountBases);
  if (path === null || place === null) return [];
  const { leaf, file: disk } = place;
  const attachment = attachmentOf(listed, leaf, uuid, disk) ?? attachmentOf(listed, leaf, uuid, null);
  return [
    {
      domain: { uuid, name, running },
      target,
      leaf,
      url: listed.mounts.find((mount) => mount.leaf === leaf)?.url ?? null,
      disk,
      path,
      format,
      readOnly,
      live,
      persistent,
      attachment: attachment?.id ?? null,
      consumer: attachment?.consumer ?? null,
    },
  ];
}

function orphans({ mounts }: ListReply, domains: readonly Domain[]): ListedVmOrphan[] {
  const byUuid = new Map(domains.map((domain) => [domain.uuid, domain]));
  return mounts.flatMap(({ leaf, url, attachments }) =>
    attachments.flatMap(({ id, consumer, disk, orphan }): ListedVmOrphan[] => {
      const uuid = uuidOf(consumer);
      if (uuid === null) return [];
      const domain = byUuid.get(uuid);
      // As in the engine's evidence: whatever it names on the leaf may be the disk under another name.
      if (domain !== undefined && (disk === null || mayUse(domain, leaf))) return [];
      const why = domain === undefined ? 'no-domain' : 'unused';
      return [{ attachment: id, consumer, leaf, url, disk, why, confirmed: orphan !== null }];
    }),
  );
}

function mayUse(domain: Domain, leaf: Leaf): boolean {
  return domain.unknown !== undefined || filesOnLeaves([...filesOf(domain), ...domain.remembered]).has(leaf);
}

function inOrder(left: ListedVmDisk, right: ListedVmDisk): number {
  const key = ({ domain, target }: ListedVmDisk): string => `${domain.name}\0${target}`;
  return key(left) < key(right) ? -1 : 1;
}

// What can be asked about disks of virtual machines over HTTP. A route translates; it decides nothing.

import { parseDiskOptions } from '../../core/disk-options.js';
import { checkDiskChoice, parseDiskFormat, parsePluggableBus, parseTargetDevice } from '../../core/disk.js';
import { parseDomainName } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS } from '../../core/limits.js';
import { parseDiskName } from '../../core/names.js';
import { parseDiskBytes } from '../../core/numbers.js';
import { refusal } from '../../core/text.js';
import type { VmDiskChoice, VmDoor } from '../../core/vm-requests.js';
import { route, type House, type Route } from '../route.js';
import * as forms from './schemas.js';

/** The routes of virtual machines' disks. */
export const VM_ROUTES: readonly Route[] = [
  route({
    name: 'vmAttach',
    method: 'POST',
    path: '/v1/vm/attach',
    summary:
      'Give a domain a disk of a volume: connect, hot-plug, and see it in the domain. A failure undoes all of it.',
    body: forms.attachBody,
    reply: forms.attachReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ body }, context, house) => {
      const volume = house.volumes.parseVolume(body.url, 'url');
      const choice = {
        format: parseDiskFormat(body.format, 'format'),
        bus: parsePluggableBus(body.bus, 'bus'),
        access: body.readOnly === true ? 'read-only' : 'read-write',
        options: parseDiskOptions(body.options, 'options'),
      } as const;
      checkDiskChoice({ ...choice, driver: house.volumes.driverOf(volume) });
      const request = {
        ...choice,
        domain: parseDomainName(body.domain, 'domain'),
        volume,
        disk: parseDiskName(body.disk, 'disk'),
        target: body.target === undefined ? null : parseTargetDevice(body.target, 'target'),
        scope: body.persistent === true ? 'both' : 'running',
        create: body.createBytes === undefined ? null : parseDiskBytes(body.createBytes, 'createBytes'),
      } as const;
      return doorOf(house).attach(request, context);
    },
  }),
  route({
    name: 'vmDetach',
    method: 'POST',
    path: '/v1/vm/detach',
    summary: 'Take a disk from a domain, and end its attachment once the guest has let go.',
    body: forms.detachBody,
    reply: forms.detachReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ body }, context, house) =>
      doorOf(house).detach({ domain: parseDomainName(body.domain, 'domain'), choice: choiceOf(body, house) }, context),
  }),
  route({
    name: 'vmExtend',
    method: 'POST',
    path: '/v1/vm/extend',
    summary: 'Grow a disk that a domain has, while it runs or while it does not.',
    body: forms.extendBody,
    reply: forms.extendReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ body }, context, house) =>
      doorOf(house).extend(
        {
          domain: parseDomainName(body.domain, 'domain'),
          target: parseTargetDevice(body.target, 'target'),
          bytes: parseDiskBytes(body.bytes, 'bytes'),
        },
        context,
      ),
  }),
  route({
    name: 'vmDisks',
    method: 'GET',
    path: '/v1/vm/disks',
    summary:
      'Which domains have which disks of volumes, who attached them, and attachments whose domain or disk is gone.',
    body: null,
    reply: forms.disksReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: (_, context, house) => doorOf(house).list(context),
  }),
];

function doorOf({ vm }: House): VmDoor {
  if (vm !== null) return vm;
  throw new FairleadError(
    'unavailable',
    'Disks of virtual machines are switched off here. Set [libvirt] enabled = "yes" in the configuration and restart Fairlead.',
    { field: 'libvirt.enabled' },
  );
}

function choiceOf(
  {
    target,
    url,
    disk,
  }: { readonly target?: string | undefined; readonly url?: string | undefined; readonly disk?: string | undefined },
  { volumes }: House,
): VmDiskChoice {
  if (target !== undefined) {
    if (url !== undefined || disk !== undefined) throw refusal('target', 'cannot be given together with url and disk');
    return { by: 'target', target: parseTargetDevice(target, 'target') };
  }
  if (url === undefined)
    throw refusal(disk === undefined ? 'target' : 'url', 'is required: name target, or url and disk');
  if (disk === undefined) throw refusal('disk', 'is required together with url');
  return { by: 'disk', volume: volumes.parseVolume(url, 'url'), disk: parseDiskName(disk, 'disk') };
}

// What the door for Nova offers: what a Nova volume driver is asked, with Nova's own records. A route translates; it decides nothing.

import { memberOf, parseConnectionInfo, parseRecordIdentity } from '../../core/connection-info.js';
import { parseSecret, parseUnit } from '../../core/disk-options.js';
import { describeDisk, diskXml, parseDiskBus, parseTargetDevice, type DiskOptions } from '../../core/disk.js';
import { isDomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS } from '../../core/limits.js';
import { parseConsumer, type Consumer } from '../../core/names.js';
import { parseInteger } from '../../core/numbers.js';
import { diskPathOf } from '../../core/paths.js';
import { refusal } from '../../core/text.js';
import { attachmentReply, disconnectReply } from '../forms.js';
import { route, type Route } from '../route.js';
import * as forms from './schemas.js';
import { attachedAs } from './snapshots.js';

const RECORD = 'connectionInfo';

/** The routes of Nova. */
export const NOVA_ROUTES: readonly Route[] = [
  route({
    name: 'novaConnect',
    method: 'POST',
    path: '/v1/nova/connect',
    summary:
      "Make an instance's attachment exist, from Nova's connection record. The whole record is checked before anything is mounted.",
    body: forms.connectBody,
    reply: attachmentReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ body }, context, { engine, volumes }) => {
      const { volume, disk, access } = parseConnectionInfo(body.connectionInfo, RECORD, volumes);
      const consumer = consumerOf(body.instance);
      return engine.connect({ volume, disk, consumer, readOnly: access === 'read-only' }, context);
    },
  }),
  route({
    name: 'novaDisconnect',
    method: 'POST',
    path: '/v1/nova/disconnect',
    summary:
      "End an instance's attachment. Of the record only the volume and the disk are looked at, so that whatever was attached can be detached.",
    body: forms.disconnectBody,
    reply: disconnectReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: async ({ body }, context, { engine, volumes }) => {
      const { volume, disk } = parseRecordIdentity(body.connectionInfo, RECORD, volumes);
      const consumer = consumerOf(body.instance);
      const names = attachedAs(engine.list().mounts, volume.leaf, consumer, disk).map((one) => one.disk);
      const last = names.pop() ?? disk;
      for (const other of names) await engine.disconnect({ volume, disk: other, consumer }, context);
      return engine.disconnect({ volume, disk: last, consumer }, context);
    },
  }),
  route({
    name: 'novaDiskConfig',
    method: 'POST',
    path: '/v1/nova/disk-config',
    summary: "A disk's description for libvirt, from Nova's connection record. Opens nothing and needs no mount.",
    body: forms.diskConfigBody,
    reply: forms.diskConfigReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: ({ body }, _, { volumes }) => {
      const record = parseConnectionInfo(body.connectionInfo, RECORD, volumes);
      const { diskInfo, secret } = body;
      if (diskInfo.type !== 'disk') throw refusal('diskInfo.type', 'must be disk');
      if (record.encrypted && secret === undefined) {
        throw refusal('secret', 'is required, since the record says that the volume is encrypted');
      }
      const bus = parseDiskBus(diskInfo.bus, 'diskInfo.bus');
      const options: DiskOptions = {
        ...record.options,
        ...(secret === undefined ? {} : { encryption: { secret: parseSecret(secret, 'secret') } }),
        ...(bus !== 'scsi' || diskInfo.unit === undefined ? {} : { unit: parseUnit(diskInfo.unit, 'diskInfo.unit') }),
      };
      const { volume, disk, format, access } = record;
      const file = diskPathOf(volumes.mountBaseOf(volume), volume.leaf, disk);
      const description = describeDisk(
        {
          backend: volume.backend,
          file,
          format,
          driver: volumes.driverOf(volume),
          target: parseTargetDevice(diskInfo.dev, 'diskInfo.dev'),
          bus,
          access,
          options,
        },
        (part) => memberOf(part, RECORD),
      );
      return { path: file, xml: diskXml(description), ...description, notes: notesOf(record.unknownLimits) };
    },
  }),
  route({
    name: 'novaExtend',
    method: 'POST',
    path: '/v1/nova/extend',
    summary:
      'The size to which an attached disk is to be brought. Nothing is resized here: Nova has QEMU do it, which alone may touch a file that a guest has open.',
    body: forms.extendBody,
    reply: forms.extendReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: ({ body }, _, { engine, volumes }) => {
      const { volume, disk } = parseRecordIdentity(body.connectionInfo, RECORD, volumes);
      const bytes = parseInteger(body.bytes, 'bytes', { min: forms.SECTOR_BYTES, max: Number.MAX_SAFE_INTEGER });
      if (bytes % forms.SECTOR_BYTES !== 0) throw refusal('bytes', `must be a multiple of ${forms.SECTOR_BYTES}`);
      const attachment = attachedAs(engine.list().mounts, volume.leaf, consumerOf(body.instance), disk).at(-1);
      if (attachment === undefined) {
        throw new FairleadError('not-found', 'This instance has no such attachment. Connect the disk first.', {
          field: 'instance',
          leaf: volume.leaf,
        });
      }
      if (attachment.readOnly) {
        throw new FairleadError('permission-denied', 'The attachment is read-only, so its disk is not extended.', {
          field: 'instance',
          leaf: volume.leaf,
        });
      }
      return { bytes, leaf: volume.leaf, path: diskPathOf(volumes.mountBaseOf(volume), volume.leaf, disk) };
    },
  }),
];

function consumerOf(instance: string): Consumer {
  if (!isDomainUuid(instance.toLowerCase())) {
    throw refusal('instance', 'must be the UUID of a Nova instance, in its dashed form');
  }
  return parseConsumer(`nova:${instance}`, 'instance');
}

function notesOf(unknownLimits: number): readonly string[] {
  return unknownLimits === 0
    ? []
    : [`${unknownLimits} of the limits in qos_specs are none of libvirt's and are not applied.`];
}

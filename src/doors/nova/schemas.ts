// The forms of requests and replies at the door for Nova. Only forms: what Nova's connection record may say is in
// core/connection-info.ts.

import { z } from 'zod';
import { bus, device, diskDescription, leaf, timeoutMs, uuid } from '../forms.js';

/** Bytes: what block devices are counted in. */
export const SECTOR_BYTES = 512;

/** Not looked into here, so that it arrives as it was sent. */
const connectionInfo = z.unknown().meta({
  type: 'object',
  description:
    "Nova's connection_info, as Nova has it: driver_volume_type, data.export, data.name and so on. Members that Fairlead does not use are ignored.",
});
const instance = uuid.meta({ description: "The instance's UUID; its attachments are nova:UUID's." });

/** POST /v1/nova/connect. */
export const connectBody = z.strictObject({ connectionInfo, instance, timeoutMs: timeoutMs.optional() });

/** POST /v1/nova/disconnect. */
export const disconnectBody = z.strictObject({ connectionInfo, instance, timeoutMs: timeoutMs.optional() });

/** POST /v1/nova/disk-config. */
export const diskConfigBody = z.strictObject({
  connectionInfo,
  diskInfo: z
    .strictObject({
      dev: device,
      bus,
      type: z.string().meta({ description: 'disk.', const: 'disk' }),
      // For other buses it is not even looked at.
      unit: z
        .number()
        .optional()
        .meta({ description: 'Unit on the SCSI controller 0; looked at for the bus scsi only.' }),
    })
    .meta({ description: "What Nova's disk_info says of the same." }),
  secret: uuid
    .optional()
    .meta({ description: "UUID of libvirt's secret for the volume; required where the record says encrypted." }),
});

/** Reply of disk-config. */
export const diskConfigReply = diskDescription.extend({
  notes: z.array(z.string()).readonly().meta({ description: 'What the record asks for and the disk does not get.' }),
});

/** POST /v1/nova/extend. */
export const extendBody = z.strictObject({
  connectionInfo,
  instance,
  bytes: z.number().meta({
    description: 'The size that the disk is to have: a multiple of 512.',
    type: 'integer',
    minimum: SECTOR_BYTES,
    maximum: Number.MAX_SAFE_INTEGER,
    multipleOf: SECTOR_BYTES,
  }),
});

/** Reply of extend. */
export const extendReply = z.object({
  bytes: z.number().meta({ description: 'The size to which the guest’s disk is to be brought.' }),
  leaf,
  path: z.string().meta({ description: 'The disk.' }),
});

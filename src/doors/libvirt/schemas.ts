// The forms of requests and replies about disks of virtual machines. Only forms: names, sizes and options get their meaning from the parsers
// of core.

import { z } from 'zod';
import { PLUGGABLE_BUSES } from '../../core/disk.js';
import { MAX_DOMAIN_BYTES } from '../../core/domains.js';
import { DISK_BLOCK_BYTES, MAX_DISK_BYTES } from '../../core/limits.js';
import * as patterns from '../../core/patterns.js';
import {
  device as target,
  disconnectReply,
  disk,
  DISK_CONTRADICTIONS,
  diskOptions,
  format,
  leaf,
  readOnly,
  timeoutMs,
  url,
} from '../forms.js';

const domain = z.string().meta({
  id: 'DomainName',
  description: 'The domain: its name or its UUID.',
  examples: ['web-1'],
  pattern: patterns.DOMAIN,
  maxLength: MAX_DOMAIN_BYTES,
});
const bytes = z.number().meta({
  id: 'DiskBytes',
  description: `Bytes, a multiple of ${DISK_BLOCK_BYTES}.`,
  type: 'integer',
  minimum: DISK_BLOCK_BYTES,
  maximum: MAX_DISK_BYTES,
  multipleOf: DISK_BLOCK_BYTES,
});
const domainReply = z.object({ uuid: z.string(), name: z.string() });
const path = z.string().meta({ description: 'Absolute path of the file.' });

/** POST /v1/vm/attach. */
export const attachBody = z
  .strictObject({
    domain,
    url,
    disk,
    format: format.optional(),
    target: target.optional().meta({ description: 'Default: the first free one, from vdb or sdb on.' }),
    bus: z
      .string()
      .optional()
      .meta({ description: 'virtio or scsi. Default virtio.', enum: [...PLUGGABLE_BUSES] }),
    readOnly: readOnly.optional().meta({ description: 'The guest may only read. Default false.' }),
    persistent: z.boolean().optional().meta({
      description: "At the domain's next start too. Required for a domain that is not running. Default false.",
    }),
    createBytes: bytes.optional().meta({
      description: `Have an image of that many bytes made if the file does not exist; a multiple of ${DISK_BLOCK_BYTES}. Default: it must exist.`,
    }),
    options: diskOptions.optional(),
    timeoutMs: timeoutMs.optional(),
  })
  .meta({ allOf: DISK_CONTRADICTIONS });

/** Reply of attach. */
export const attachReply = z.object({
  attachment: z.string().meta({ description: "The attachment's id." }),
  domain: domainReply,
  target,
  leaf,
  path,
  changed: z.boolean().meta({ description: 'Was anything done? False when everything was in place already.' }),
  created: z.boolean().meta({ description: 'Was the image made now?' }),
  notes: z.array(z.string()).readonly(),
});

/** POST /v1/vm/detach. */
export const detachBody = z
  .strictObject({
    domain,
    target: target.optional().meta({ description: 'Either this, or url and disk.' }),
    url: url.optional(),
    disk: disk.optional(),
    timeoutMs: timeoutMs.optional(),
  })
  .meta({
    oneOf: [
      { required: ['target'], properties: { url: false, disk: false } },
      { required: ['url', 'disk'], properties: { target: false } },
    ],
  });

/** Reply of detach. */
export const detachReply = disconnectReply.extend({
  domain: domainReply,
  target: target.nullable().meta({ description: 'Where the domain had it; null when it did not have it any more.' }),
  changed: z.boolean().meta({ description: 'Was anything done to the domain?' }),
});

/** POST /v1/vm/extend. */
export const extendBody = z.strictObject({ domain, target, bytes, timeoutMs: timeoutMs.optional() });

/** Reply of extend. */
export const extendReply = z.object({
  domain: domainReply,
  target,
  leaf,
  path,
  bytes: z.int().meta({ description: 'The size that the disk has now.' }),
  changed: z.boolean().meta({ description: 'False when it had that size already.' }),
  by: z.enum(['hypervisor', 'image']).meta({
    description: 'hypervisor: through QEMU, since a running domain has it. image: through qemu-img.',
  }),
});

/** Reply of the list of disks. */
export const disksReply = z.object({
  disks: z
    .array(
      z.object({
        domain: domainReply.extend({ running: z.boolean() }),
        target,
        leaf,
        url: z.string().nullable().meta({ description: 'Null when nothing is recorded of the leaf.' }),
        disk: z.string().meta({ description: 'The file in the volume.' }),
        path,
        format: z.string().nullable(),
        readOnly,
        live: z.boolean().meta({ description: 'The running domain has it.' }),
        persistent: z.boolean().meta({ description: 'The domain will have it at its next start.' }),
        attachment: z.string().nullable().meta({
          description: 'The attachment that keeps its volume mounted; null: who attached it did not tell Fairlead.',
        }),
        consumer: z.string().nullable().meta({ description: 'Whose attachment that is: vm:UUID or nova:UUID.' }),
      }),
    )
    .readonly(),
  orphans: z
    .array(
      z.object({
        attachment: z.string(),
        consumer: z.string(),
        leaf,
        url: z.string().nullable(),
        disk: z.string().nullable(),
        why: z.enum(['no-domain', 'unused']).meta({
          description: 'There is no such domain; or it names no file of the volume.',
        }),
        confirmed: z.boolean().meta({
          description: 'It has been so for libvirt.evidence_age: nobody is just about to give the domain the disk.',
        }),
      }),
    )
    .readonly()
    .meta({ description: 'Attachments of domains that do not have the disk, as seen just now.' }),
  complete: z.boolean().meta({ description: 'False when a domain could not be read.' }),
});

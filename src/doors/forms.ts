// Forms of requests and replies that more than one door has. Only forms: names, URLs and numbers get their meaning from the parsers of
// core and backends.

import { z } from 'zod';
import { BLOCK_BYTES, MAX_IOTUNE, MAX_TEXT_BYTES, MAX_UNIT } from '../core/disk-options.js';
import { BUSES, FORMATS, IOTUNE_KEYS } from '../core/disk.js';
import { MAX_CONSUMER_BYTES, MAX_DEADLINE_MS, MAX_NAME_BYTES } from '../core/limits.js';
import { HOLDS_BY } from '../core/observation.js';
import * as patterns from '../core/patterns.js';
import { VERDICTS } from '../core/verdict.js';

/** The full name of a volume. The document's pattern is put together from the backends. */
export const url = z.string().meta({
  id: 'VolumeUrl',
  description: 'Volume URL: quobyte://REGISTRY[,REGISTRY…]/VOLUME or local:///DIRECTORY.',
  examples: ['quobyte://reg1:7861,reg2:7861/vol-name'],
});
/** A disk in a volume. */
export const disk = z.string().meta({
  id: 'DiskName',
  description: 'File in the volume: one path component.',
  examples: ['disk-1'],
  pattern: patterns.DISK_NAME,
  maxLength: MAX_NAME_BYTES,
});
/** Who uses it. */
export const consumer = z.string().meta({
  id: 'Consumer',
  description: 'Who uses it, as KIND:ID with KIND one of nova, vm, csi, docker, cli.',
  examples: ['cli:alice'],
  pattern: patterns.CONSUMER,
  maxLength: MAX_CONSUMER_BYTES,
});
/** What is in a disk's file. */
export const format = z
  .string()
  .meta({ id: 'DiskFormat', description: 'raw or qcow2; never detected. Default raw.', enum: [...FORMATS] });
/** The bus of a disk. */
export const bus = z
  .string()
  .meta({ id: 'DiskBus', description: `${BUSES.slice(0, -1).join(', ')} or ${BUSES.at(-1)}.`, enum: [...BUSES] });
/** The guest's device. */
export const device = z
  .string()
  .meta({ id: 'Device', description: "The guest's device name.", examples: ['vdb'], pattern: patterns.DEVICE });
/** A UUID in its dashed form. */
export const uuid = z.string().meta({ id: 'Uuid', description: 'A UUID in its dashed form.', pattern: patterns.UUID });
/** The deadline that a request may bring. */
export const timeoutMs = z.int().min(1).max(MAX_DEADLINE_MS).meta({
  description:
    'Milliseconds within which an answer is wanted. Default 120000 for connect, disconnect, attach, detach and extend, else 10000.',
});
/** The name of a mount. */
export const leaf = z.string().meta({
  id: 'Leaf',
  description: 'Name of the mount: 32 hex digits, the MD5 of the export.',
  pattern: patterns.LEAF,
});
/** Where a volume is mounted. */
export const mountpoint = z
  .string()
  .meta({ description: 'Absolute path of the directory where the volume is mounted.' });
/** What validation says. */
export const verdict = z.enum(VERDICTS).meta({ id: 'Verdict', description: 'What validation says.' });
/** Whether an attachment only reads. */
export const readOnly = z.boolean();

/** What keeps a mount busy. */
export const holder = z
  .object({
    pid: z.int().meta({ description: 'The process; 0 for mount and loop.' }),
    command: z.string().meta({ description: "The process's name; for mount where it is, for loop the device." }),
    by: z.enum(HOLDS_BY).meta({
      description:
        'descriptor, directory, root, mapping: what the process has open there. namespace: another mount namespace has a copy. mount: a copy elsewhere, or a mount inside or on top. loop: a loop device whose file lies there.',
    }),
  })
  .meta({ id: 'Holder', description: 'What keeps a mount busy.' });

/** The attachment exists (connect). */
export const attachmentReply = z.object({
  attachment: z.string().meta({ description: "The attachment's id." }),
  leaf,
  mountpoint,
  path: z.string().meta({ description: 'The disk, or the mountpoint when no disk was named.' }),
  verdict,
  changed: z.boolean().meta({ description: 'Was anything done? False when everything was in place already.' }),
  isNew: z.boolean().meta({ description: 'Did this request make the attachment? False when it was there already.' }),
  disk: z.enum(['present', 'absent']).optional().meta({ description: 'Whether the disk exists already.' }),
  notes: z.array(z.string()).readonly(),
});

/** Reply of disconnect. */
export const disconnectReply = z.object({
  outcome: z.enum(['released', 'releasing', 'still-used', 'busy', 'hung', 'not-connected']),
  mounted: z.boolean().meta({ description: 'Is the volume still mounted at its leaf?' }),
  ending: z.boolean().meta({
    description:
      'For released: the client has not ended yet. It does so by itself, when it has written back what it has.',
  }),
  leaf,
  usedBy: z.array(z.string()).readonly().meta({ description: 'Consumers, and hold:inherited for a hold.' }),
  holders: z
    .array(holder)
    .readonly()
    .meta({ description: 'What keeps the mount, for busy and releasing, as far as it was found.' }),
  disks: z.array(disk.nullable()).readonly().optional().meta({
    description:
      'For not-connected: the disks that the attachments of this user name here, null for none. The request must name the same.',
  }),
});

const limit = z.number().meta({
  id: 'Limit',
  description: 'A limit on input and output; 0 is none.',
  type: 'integer',
  minimum: 0,
  maximum: MAX_IOTUNE,
});
const limits = Object.fromEntries(IOTUNE_KEYS.map((key) => [key, limit.optional()]));
const size = z.number().meta({
  id: 'BlockSize',
  description: 'Bytes: a power of two.',
  enum: Array.from({ length: Math.log2(BLOCK_BYTES.max / BLOCK_BYTES.min) + 1 }, (_, n) => BLOCK_BYTES.min * 2 ** n),
});

/** Members of an object that are there and more than 0. */
function given(...keys: readonly string[]): object {
  return { required: keys, properties: Object.fromEntries(keys.map((key) => [key, { minimum: 1 }])) };
}

/** Which limits contradict each other; see checkIotune in core/disk-options.ts. */
const CONTRADICTIONS = [
  ...['bytes_sec', 'iops_sec', 'bytes_sec_max', 'iops_sec_max'].flatMap((kind) =>
    ['read', 'write'].map((way) => ({ not: given(`total_${kind}`, `${way}_${kind}`) })),
  ),
  ...['read', 'write', 'total'].flatMap((way) =>
    ['bytes_sec', 'iops_sec'].map((kind) => ({
      if: given(`${way}_${kind}_max`),
      then: given(`${way}_${kind}`),
    })),
  ),
  {
    if: given('size_iops_sec'),
    then: { anyOf: ['read', 'write', 'total'].map((way) => given(`${way}_iops_sec`)) },
  },
];

/** Number of a unit on the SCSI controller. */
export const unit = z.number().meta({
  description: 'Unit on the SCSI controller 0; for the bus scsi only.',
  type: 'integer',
  minimum: 0,
  maximum: MAX_UNIT,
});

/** What may be said of a disk beyond its file; see core/disk-options.ts for what each may be. */
export const diskOptions = z
  .strictObject({
    serial: z.string().optional().meta({
      description: 'Serial number that the guest sees.',
      pattern: patterns.SERIAL,
      maxLength: MAX_TEXT_BYTES,
    }),
    discard: z.literal('unmap').optional().meta({ description: "The guest's discards reach the file." }),
    iotune: z.strictObject(limits).optional().meta({
      description:
        "libvirt's limits on input and output, a second; whole numbers from 0 (no limit) to 10^15. A burst (_max) must not be below its limit.",
      allOf: CONTRADICTIONS,
    }),
    blockSizes: z.strictObject({ logical: size.optional(), physical: size.optional() }).optional().meta({
      description:
        'Bytes, powers of two from 512 to 2 MiB. The logical size must not be above the physical one, which is 512 if it is not given.',
      minProperties: 1,
    }),
    shareable: z.boolean().optional().meta({ description: 'Several guests may have it at once.' }),
    alias: z.string().optional().meta({
      description: "libvirt's user alias: ua- and letters, digits, _ and -.",
      pattern: patterns.ALIAS,
      maxLength: MAX_TEXT_BYTES,
    }),
    encryption: z
      .strictObject({ secret: uuid.meta({ description: 'UUID of a libvirt secret.' }) })
      .optional()
      .meta({ description: 'LUKS, opened by QEMU with this secret.' }),
    unit: unit.optional(),
  })
  .meta({ id: 'DiskOptions', description: 'Whatever else libvirt is to be told of the disk. Default nothing.' });

/** What cannot be asked together of one disk; see describeDisk in core/disk.ts. Part of the forms that have a disk's options. */
export const DISK_CONTRADICTIONS = [
  {
    not: {
      required: ['readOnly', 'bus'],
      properties: { readOnly: { const: true }, bus: { enum: ['ide', 'sata'] } },
    },
  },
  {
    if: { required: ['options'], properties: { options: { required: ['unit'] } } },
    then: { required: ['bus'], properties: { bus: { const: 'scsi' } } },
  },
  {
    if: {
      required: ['options', 'format'],
      properties: {
        options: { required: ['shareable'], properties: { shareable: { const: true } } },
        format: { const: 'qcow2' },
      },
    },
    then: { required: ['readOnly'], properties: { readOnly: { const: true } } },
  },
];

/** A disk as libvirt is told of it. */
export const diskDescription = z.object({
  path: z.string(),
  xml: z.string().meta({ description: "libvirt's <disk> element." }),
  protocol: z.string(),
  type: z.literal('file'),
  device: z.literal('disk'),
  driver: z.object({
    name: z.literal('qemu'),
    type: z.string(),
    cache: z.string(),
    io: z.string(),
    discard: z.literal('unmap').optional(),
  }),
  alias: z.string().nullable(),
  source: z.object({ file: z.string() }),
  target: z.object({ dev: z.string(), bus: z.string() }),
  serial: z.string().nullable(),
  iotune: z.strictObject(limits).nullable(),
  blockSizes: z.object({ logical: z.number().optional(), physical: z.number().optional() }).nullable(),
  readonly: z.boolean(),
  shareable: z.boolean(),
  address: z.object({ type: z.literal('drive'), controller: z.literal(0), unit: z.int() }).nullable(),
  encryption: z
    .object({ format: z.literal('luks'), secret: z.object({ type: z.literal('passphrase'), uuid: z.string() }) })
    .nullable(),
});

// Forms of requests and replies that more than one door has. Only forms: names, URLs and numbers get their meaning from the parsers of
// core and backends.

import { z } from 'zod';
import { IOTUNE_KEYS } from '../core/disk.js';
import { MAX_DEADLINE_MS } from '../core/limits.js';
import { HOLDS_BY } from '../core/observation.js';
import { VERDICTS } from '../core/verdict.js';

/** The full name of a volume. */
export const url = z.string().meta({
  description: 'Volume URL: quobyte://REGISTRY[,REGISTRY…]/VOLUME or local:///DIRECTORY.',
  examples: ['quobyte://reg1:7861,reg2:7861/vol-name'],
});
/** A disk in a volume. */
export const disk = z.string().meta({ description: 'File in the volume: one path component.', examples: ['disk-1'] });
/** Who uses it. */
export const consumer = z.string().meta({
  description: 'Who uses it, as KIND:ID with KIND one of nova, vm, csi, docker, cli.',
  examples: ['cli:alice'],
});
/** The deadline that a request may bring. */
export const timeoutMs = z.int().min(1).max(MAX_DEADLINE_MS).meta({
  description:
    'Milliseconds within which an answer is wanted. Default 120000 for connect, disconnect, attach, detach and extend, else 10000.',
});
/** The name of a mount. */
export const leaf = z.string().meta({ description: 'Name of the mount: 32 hex digits, the MD5 of the export.' });
/** Where a volume is mounted. */
export const mountpoint = z
  .string()
  .meta({ description: 'Absolute path of the directory where the volume is mounted.' });
/** What validation says. */
export const verdict = z.enum(VERDICTS).meta({ description: 'What validation says.' });
/** Whether an attachment only reads. */
export const readOnly = z.boolean();

/** What keeps a mount busy. */
export const holder = z.object({
  pid: z.int().meta({ description: 'The process; 0 for mount and loop.' }),
  command: z.string().meta({ description: "The process's name; for mount where it is, for loop the device." }),
  by: z.enum(HOLDS_BY).meta({
    description:
      'descriptor, directory, root, mapping: what the process has open there. namespace: another mount namespace has a copy. mount: a copy elsewhere, or a mount inside. loop: a loop device whose file lies there.',
  }),
});

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
});

const limits = Object.fromEntries(IOTUNE_KEYS.map((key) => [key, z.number().optional()]));

/** What may be said of a disk beyond its file; see core/disk-options.ts for what each may be. */
export const diskOptions = z
  .strictObject({
    serial: z.string().optional().meta({ description: 'Serial number that the guest sees.' }),
    discard: z.literal('unmap').optional().meta({ description: "The guest's discards reach the file." }),
    iotune: z.strictObject(limits).optional().meta({
      description: "libvirt's limits on input and output, a second; whole numbers from 0 (no limit) to 10^15.",
    }),
    blockSizes: z
      .strictObject({ logical: z.number().optional(), physical: z.number().optional() })
      .optional()
      .meta({ description: 'Bytes, powers of two from 512 to 2 MiB.' }),
    shareable: z.boolean().optional().meta({ description: 'Several guests may have it at once.' }),
    alias: z.string().optional().meta({ description: "libvirt's user alias: ua- and letters, digits, _ and -." }),
    encryption: z
      .strictObject({ secret: z.string().meta({ description: 'UUID of a libvirt secret.' }) })
      .optional()
      .meta({ description: 'LUKS, opened by QEMU with this secret.' }),
    unit: z.number().optional().meta({ description: 'Unit on the SCSI controller 0; for the bus scsi only.' }),
  })
  .meta({ description: 'Whatever else libvirt is to be told of the disk. Default nothing.' });

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

// The forms of requests and replies at the HTTP door. The OpenAPI document and docs/reference/api.md are made from these.
// Only forms: names, URLs and numbers get their meaning from the parsers of core and backends.

import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../../core/errors.js';
import { MAX_DEADLINE_MS } from '../../core/limits.js';
import { STEP_KINDS } from '../../core/steps.js';
import { VERDICTS } from '../../core/verdict.js';

const url = z.string().meta({
  description: 'Volume URL: quobyte://REGISTRY[,REGISTRY…]/VOLUME or local:///DIRECTORY.',
  examples: ['quobyte://reg1:7861,reg2:7861/vol-name'],
});
const disk = z.string().meta({ description: 'File in the volume: one path component.', examples: ['disk-1'] });
const consumer = z.string().meta({
  description: 'Who uses it, as KIND:ID with KIND one of nova, vm, csi, docker, cli.',
  examples: ['cli:alice'],
});
const timeoutMs = z.int().min(1).max(MAX_DEADLINE_MS).meta({
  description: 'Milliseconds within which an answer is wanted. Default 120000 for connect and disconnect, else 10000.',
});
const leaf = z.string().meta({ description: 'Name of the mount: 32 hex digits, the MD5 of the export.' });
const mountpoint = z.string().meta({ description: 'Absolute path of the directory where the volume is mounted.' });
const verdict = z.enum(VERDICTS).meta({ description: 'What validation says.' });
const readOnly = z.boolean();

/** POST /v1/connect. */
export const connectBody = z.strictObject({
  url,
  disk: disk.optional(),
  consumer,
  readOnly: readOnly.optional().meta({ description: 'The attachment only reads. Default false.' }),
  dryRun: z.boolean().optional().meta({ description: 'Only say what would be done. Default false.' }),
  timeoutMs: timeoutMs.optional(),
});

/** POST /v1/disconnect. */
export const disconnectBody = z.strictObject({
  url,
  disk: disk.optional(),
  consumer,
  timeoutMs: timeoutMs.optional(),
});

/** POST /v1/validate. */
export const validateBody = z.strictObject({ url, timeoutMs: timeoutMs.optional() });

/** POST /v1/disk-config. */
export const diskConfigBody = z.strictObject({
  url,
  disk,
  format: z.string().optional().meta({ description: 'raw or qcow2; never detected. Default raw.' }),
  target: z.string().optional().meta({ description: "The guest's device name. Default vdb." }),
  bus: z.string().optional().meta({ description: 'virtio, scsi, sata, ide or usb. Default virtio.' }),
  readOnly: readOnly.optional().meta({ description: 'The guest may only read. Default false.' }),
  serial: z.string().optional().meta({ description: 'Serial number that the guest sees. Default none.' }),
});

const holder = z.object({
  pid: z.int(),
  command: z.string(),
  by: z.enum(['descriptor', 'directory', 'root', 'mapping', 'namespace']),
});

const plan = z.object({
  leaf,
  mountpoint,
  verdict,
  steps: z.array(z.object({ kind: z.enum(STEP_KINDS) })).readonly(),
});

/** Reply of connect; with `dryRun` the plan. */
export const connectReply = z.union([
  z.object({
    attachment: z.string().meta({ description: "The attachment's id." }),
    leaf,
    mountpoint,
    path: z.string().meta({ description: 'The disk, or the mountpoint when no disk was named.' }),
    verdict,
    changed: z.boolean().meta({ description: 'Was anything done? False when everything was in place already.' }),
    isNew: z.boolean().meta({ description: 'Did this request make the attachment? False when it was there already.' }),
    disk: z.enum(['present', 'absent']).optional().meta({ description: 'Whether the disk exists already.' }),
    notes: z.array(z.string()).readonly(),
  }),
  plan,
]);

/** Reply of disconnect. */
export const disconnectReply = z.object({
  outcome: z.enum(['released', 'still-used', 'busy', 'hung', 'not-connected']),
  mounted: z.boolean().meta({ description: 'Is the volume still mounted?' }),
  leaf,
  usedBy: z.array(z.string()).readonly().meta({ description: 'Consumers, and hold:inherited for a hold.' }),
  holders: z.array(holder).readonly().meta({ description: 'Processes that keep the mount busy.' }),
});

/** Reply of validate. */
export const validateReply = z.object({ verdict, reason: z.string(), leaf, mountpoint });

/** Reply of the list of mounts. */
export const listReply = z.object({
  mounts: z
    .array(
      z.object({
        leaf,
        url: z.string().nullable().meta({ description: 'Null when a foreign mount cannot be named.' }),
        backend: z.string(),
        mountpoint,
        state: z.enum(['mounting', 'mounted', 'releasing', 'stuck', 'foreign', 'vanished']),
        verdict: verdict.nullable(),
        verdictAge: z.number().nullable().meta({ description: 'Seconds since that verdict.' }),
        attachments: z
          .array(
            z.object({
              id: z.string(),
              consumer,
              disk: disk.nullable(),
              readOnly,
              since: z.string().meta({ description: 'ISO 8601.' }),
            }),
          )
          .readonly(),
        hold: z.literal('inherited').nullable(),
        needsRestart: z.array(holder).readonly(),
        operation: z
          .object({ kind: z.string(), step: z.string().nullable(), stuck: z.boolean() })
          .nullable()
          .meta({ description: 'The open operation, if one is in progress.' }),
      }),
    )
    .readonly(),
  setAside: z.array(z.object({ table: z.string(), key: z.string(), reason: z.string() })).readonly(),
  broker: z.enum(['connected', 'absent']),
  state: z.enum(['reconciling', 'ready']),
});

/** Reply of disk-config. */
export const diskConfigReply = z.object({
  path: z.string(),
  xml: z.string().meta({ description: "libvirt's <disk> element." }),
  protocol: z.string(),
  type: z.literal('file'),
  device: z.literal('disk'),
  driver: z.object({ name: z.literal('qemu'), type: z.string(), cache: z.string(), io: z.string() }),
  source: z.object({ file: z.string() }),
  target: z.object({ dev: z.string(), bus: z.string() }),
  readonly: z.boolean(),
  serial: z.string().nullable(),
});

/** Reply of lifting a hold. */
export const liftReply = z.object({ lifted: z.boolean().meta({ description: 'False when there was no hold.' }) });

/** Reply of doctor. */
export const doctorReply = z.object({
  findings: z
    .array(
      z.object({
        subject: z.string(),
        severity: z.enum(['error', 'warning']),
        message: z.string(),
        mend: z.string().meta({ description: 'A command, or a sentence, that mends it.' }),
      }),
    )
    .readonly(),
});

/** Reply of health. */
export const healthReply = z.object({
  version: z.string(),
  broker: z.enum(['connected', 'absent']),
  state: z.enum(['reconciling', 'ready']),
});

/** Every error. */
export const errorReply = z.object({
  error: z.object({
    code: z.enum(Object.keys(ERROR_CODES) as ErrorCode[]),
    message: z.string().meta({ description: 'What is wrong and what to do next.' }),
    field: z.string().optional().meta({ description: 'The field of the request at fault.' }),
    retryable: z.boolean().meta({ description: 'May the same request succeed later?' }),
    leaf: leaf.optional(),
    helperOutput: z.string().optional().meta({ description: 'What the mount helper printed, redacted.' }),
  }),
});

// The forms of requests and replies at the HTTP door. The OpenAPI document and docs/reference/api.md are made from these.
// Only forms: names, URLs and numbers get their meaning from the parsers of core and backends.

import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../../core/errors.js';
import { STEP_KINDS } from '../../core/steps.js';
import {
  attachmentReply,
  bus,
  consumer,
  device,
  disk,
  DISK_CONTRADICTIONS,
  diskOptions,
  format,
  holder,
  leaf,
  mountpoint,
  readOnly,
  timeoutMs,
  url,
  verdict,
} from '../forms.js';

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
export const diskConfigBody = z
  .strictObject({
    url,
    disk,
    format: format.optional(),
    target: device.optional().meta({ description: "The guest's device name. Default vdb." }),
    bus: bus.optional().meta({ description: 'virtio, scsi, sata, ide or usb. Default virtio.' }),
    readOnly: readOnly.optional().meta({ description: 'The guest may only read. Default false.' }),
    options: diskOptions.optional(),
  })
  .meta({ allOf: DISK_CONTRADICTIONS });

const plan = z
  .object({ leaf, mountpoint, verdict, steps: z.array(z.object({ kind: z.enum(STEP_KINDS) })).readonly() })
  .meta({ id: 'Plan', description: 'What a connect would do.' });

/** Reply of connect; with `dryRun` the plan. */
export const connectReply = z.union([attachmentReply, plan]);

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
        state: z.enum(['mounting', 'mounted', 'releasing', 'ending', 'stuck', 'foreign', 'vanished']),
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
              orphan: z.enum(['no-domain', 'unused']).nullable().meta({
                description:
                  'For a virtual machine, on complete evidence: there is no such domain, or it names no file of the volume.',
              }),
            }),
          )
          .readonly(),
        hold: z.literal('inherited').nullable(),
        former: z
          .array(z.object({ state: z.enum(['releasing', 'ending']) }))
          .readonly()
          .meta({
            description:
              'Clients of earlier mounts of this volume. releasing: somebody may still use what it serves. ending: nobody does, and it has not ended yet.',
          }),
        keptBy: z.array(holder).readonly().meta({
          description: 'For releasing: who kept it when that was last looked for, as far as it was found out.',
        }),
        needsRestart: z.array(holder).readonly().meta({
          description: 'Processes that still hold a dead mount of this volume, which has been replaced.',
        }),
        operation: z
          .object({ kind: z.string(), step: z.string().nullable(), stuck: z.boolean() })
          .nullable()
          .meta({ description: 'The open operation, if one is in progress.' }),
      }),
    )
    .readonly(),
  setAside: z
    .array(z.object({ table: z.string(), key: z.string(), reason: z.string() }))
    .readonly()
    .meta({ description: 'What the ledger could not read back, or trust, at a start; until no hold is left.' }),
  fault: z.string().nullable().meta({ description: 'Why nothing can be written to the ledger now. Null: it can.' }),
  broker: z.enum(['connected', 'absent']),
  state: z.enum(['reconciling', 'ready']),
  domains: z.enum(['off', 'unknown', 'incomplete', 'complete']).meta({
    description:
      "What is known of libvirt's domains. off: they are not read. unknown: they could not be read, or not yet. incomplete: some could not be read.",
  }),
});

/** Reply of lifting a hold. */
export const liftReply = z.object({ lifted: z.boolean().meta({ description: 'False when there was no hold.' }) });

/** Reply of abort. */
export const abortReply = z.object({
  leaf,
  verdict,
  reason: z.string(),
  usedBy: z.array(z.string()).readonly().meta({
    description: 'Who used the mount: each of them gets errors from what it has open there.',
  }),
});

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
    helperOutput: z.string().optional().meta({
      description: 'What the mount helper printed: lines of known harmless forms, and how many were withheld.',
    }),
  }),
});

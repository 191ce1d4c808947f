// The words between agent and hypervisor process, and nothing else: no socket, no clock, no decision.
//
// THE PROTOCOL, version 1. The conversation of link/forms.ts on run_dir/hypervisor.sock: the agent asks, the hypervisor process
// answers. Only `survey` has parts. Volumes travel as URL text and a disk by its name in the volume, and both are parsed again;
// paths, XML and programs never travel to the hypervisor process.

import { z } from 'zod';
import type { DomainUuid } from '../core/domains.js';
import { isDomainUuid } from '../core/domains.js';
import { MAX_DISK_BYTES, MAX_NAME_BYTES } from '../core/limits.js';
import { finding, head, size, text, volume } from '../link/forms.js';

/** Said in `hello`; agent and hypervisor process of different versions do not talk. */
export const PROTOCOL_VERSION = 1;
/** The socket's name in run_dir. */
export const SOCKET = 'hypervisor.sock';

// --- requests ---------------------------------------------------------------------------------------------------

/** A word that a parser of core/ reads afterwards. */
const word = z.string().min(1).max(MAX_NAME_BYTES);
const uuid = z.custom<DomainUuid>((value) => typeof value === 'string' && isDomainUuid(value));
const bytes = z.int().min(1).max(MAX_DISK_BYTES);
const which = { domain: uuid, volume, disk: word };

/** What each verb takes. */
export const REQUESTS = {
  hello: z.strictObject({ ...head, verb: z.literal('hello'), version: z.int().min(0) }),
  survey: z.strictObject({ ...head, verb: z.literal('survey') }),
  domain: z.strictObject({ ...head, verb: z.literal('domain'), name: word }),
  create: z.strictObject({ ...head, verb: z.literal('create'), volume, disk: word, format: word, bytes }),
  plug: z.strictObject({
    ...head,
    verb: z.literal('plug'),
    ...which,
    format: word,
    target: word,
    bus: word,
    access: z.enum(['read-write', 'read-only']),
    /** Read by core/disk-options.ts, member by member. */
    options: z.record(word, z.unknown()),
    scope: z.enum(['running', 'both']),
  }),
  unplug: z.strictObject({ ...head, verb: z.literal('unplug'), ...which }),
  grow: z.strictObject({ ...head, verb: z.literal('grow'), ...which, format: word, bytes }),
  examine: z.strictObject({ ...head, verb: z.literal('examine') }),
} as const;

/** What the hypervisor process can be asked for. */
export type VerbName = keyof typeof REQUESTS;
/** A request that passed its schema. */
export type RequestOf<V extends VerbName> = z.output<(typeof REQUESTS)[V]>;

// --- results ----------------------------------------------------------------------------------------------------

const domainDisk = z.strictObject({
  target: text,
  bus: text.nullable(),
  path: text.nullable(),
  format: text.nullable(),
  readOnly: z.boolean(),
  serial: text.nullable(),
  live: z.boolean(),
  persistent: z.boolean(),
});
const domain = z.strictObject({
  uuid,
  name: text,
  running: z.boolean(),
  disks: z.array(domainDisk),
  otherFiles: z.array(text),
  remembered: z.array(text),
  unknown: z.enum(['files', 'backing']).exactOptional(),
});

/** What each verb answers, as it travels. */
export const RESULTS = {
  hello: z.strictObject({ version: z.int().min(0) }),
  survey: z.strictObject({ complete: z.boolean() }),
  domain,
  create: z.strictObject({ created: z.boolean() }),
  plug: z.strictObject({ changed: z.boolean() }),
  unplug: z.strictObject({ changed: z.boolean() }),
  grow: z.strictObject({ changed: z.boolean(), by: z.enum(['hypervisor', 'image']), bytes: size }),
  examine: z.array(finding),
} as const;

/** What each verb's parts hold; a verb that is missing here has none. */
export const PARTS = { survey: z.strictObject({ domains: z.array(domain) }) } as const;

/** A result that passed its schema. */
export type ResultOf<V extends VerbName> = z.output<(typeof RESULTS)[V]>;
/** One part of a survey. */
export type SurveyPart = z.output<typeof PARTS.survey>;

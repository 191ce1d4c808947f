// The words between agent and broker, and nothing else: no socket, no clock, no decision. Both sides read every byte
// with this file and trust none of it.
//
// THE PROTOCOL, version 1. The conversation of link/forms.ts on run_dir/broker.sock: the agent asks, the broker answers. Only
// `inventory` has parts. Volumes travel as URL text and are parsed again by the broker; leaves, paths and programs never
// travel to the broker.

import { z } from 'zod';
import { MAX_HELPER_OUTPUT_BYTES, MAX_NAME_BYTES, MAX_WATCHED_CHANGES } from '../core/limits.js';
import { HOLDS_BY } from '../core/observation.js';
import { STEP_KINDS } from '../core/steps.js';
import { VERDICTS } from '../core/verdict.js';
import { BACKEND_NAMES, isLeaf, type Leaf } from '../core/volume.js';
import { failure, finding, head, size, text, volume } from '../link/forms.js';

/** Said in `hello`; agent and broker of different versions do not talk. */
export const PROTOCOL_VERSION = 1;
/** The socket's name in run_dir. */
export const SOCKET = 'broker.sock';

// --- requests ---------------------------------------------------------------------------------------------------

const leaf = z.custom<Leaf>(isLeaf);
const leafName = z.strictObject({ backend: z.enum(BACKEND_NAMES), leaf });
const access = z.enum(['read-write', 'read-only']);
const diskName = z.string().min(1).max(MAX_NAME_BYTES);

/** What each verb takes. */
export const REQUESTS = {
  hello: z.strictObject({ ...head, verb: z.literal('hello'), version: z.int().min(0) }),
  observe: z.strictObject({
    ...head,
    verb: z.literal('observe'),
    volume,
    probe: access.nullable(),
    disk: diskName.exactOptional(),
  }),
  step: z.strictObject({ ...head, verb: z.literal('step'), volume, kind: z.enum(STEP_KINDS) }),
  settle: z.strictObject({ ...head, verb: z.literal('settle'), volume }),
  disk: z.strictObject({ ...head, verb: z.literal('disk'), volume, name: diskName }),
  holders: z.strictObject({ ...head, verb: z.literal('holders'), volume }),
  abort: z.strictObject({ ...head, verb: z.literal('abort'), volume }),
  inventory: z.strictObject({
    ...head,
    verb: z.literal('inventory'),
    leaves: z.union([z.literal('all'), z.array(leafName).max(MAX_WATCHED_CHANGES)]),
  }),
  watch: z.strictObject({ ...head, verb: z.literal('watch'), seen: z.int().min(0).nullable() }),
  'helper-output': z.strictObject({ ...head, verb: z.literal('helper-output'), leaf }),
  examine: z.strictObject({ ...head, verb: z.literal('examine') }),
} as const;

/** What the broker can be asked for. */
export type VerbName = keyof typeof REQUESTS;
/** A request that passed its schema. */
export type RequestOf<V extends VerbName> = z.output<(typeof REQUESTS)[V]>;

// --- replies ----------------------------------------------------------------------------------------------------

const stepEnd = z.discriminatedUnion('end', [
  z.strictObject({ end: z.literal('done'), changed: z.boolean() }),
  z.strictObject({ end: z.literal('refused'), error: failure }),
  z.strictObject({ end: z.literal('unknown'), error: failure }),
]);
const observedMount = z.strictObject({
  recognised: z.boolean(),
  fsType: text,
  dev: text,
  readOnly: z.boolean(),
  hardened: z.boolean(),
});
const judgement = z.strictObject({
  verdict: z.enum(VERDICTS),
  reason: text,
  advice: text.exactOptional(),
  dead: z.boolean(),
  errno: text.exactOptional(),
});
const diskFacts = z.strictObject({ state: z.enum(['absent', 'regular', 'link', 'other']) });
const observation = {
  leaf,
  mountpoint: text,
  directory: z.enum(['absent', 'empty', 'occupied', 'link', 'not-a-directory', 'mounted']),
  mounts: z.array(observedMount),
  mayHideOurs: z.boolean(),
  unit: z.enum(['idle', 'starting', 'serving']),
  former: z.array(z.strictObject({ state: z.enum(['serving', 'ending']) })),
  judgement: judgement.exactOptional(),
  disk: z.union([diskFacts, z.strictObject({ state: z.literal('failed'), errno: text })]).exactOptional(),
};
const holder = z.strictObject({
  pid: size,
  command: text,
  by: z.enum(HOLDS_BY),
});
const inventoryPart = z.strictObject({
  items: z.array(z.strictObject({ ...observation, backend: text, url: text.exactOptional() })),
});

/** What each verb answers, as it travels. */
export const RESULTS = {
  hello: z.strictObject({ version: z.int().min(0), bootId: text }),
  observe: z.strictObject(observation),
  step: stepEnd,
  settle: z.enum(['settled', 'acting']),
  disk: diskFacts,
  holders: z.strictObject({ holders: z.array(holder), complete: z.boolean() }),
  abort: judgement,
  inventory: z.strictObject({ bootId: text }),
  watch: z.strictObject({ version: z.int().min(0), leaves: z.union([z.literal('all'), z.array(leafName)]) }),
  'helper-output': z.string().max(MAX_HELPER_OUTPUT_BYTES).nullable(),
  examine: z.array(finding),
} as const;

/** What each verb's parts hold; a verb that is missing here has none. */
export const PARTS = { inventory: inventoryPart } as const;

/** A result that passed its schema. */
export type ResultOf<V extends VerbName> = z.output<(typeof RESULTS)[V]>;
/** One part of an inventory. */
export type InventoryPart = z.output<typeof inventoryPart>;

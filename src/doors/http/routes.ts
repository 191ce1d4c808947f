// What the HTTP door offers, as a table: form of the request, form of the reply, and which question of the engine it is.
// The server, the OpenAPI document and the reference page are made from it. A route translates; it decides nothing.

import type { z } from 'zod';
import {
  describeDisk,
  diskXml,
  parseDiskBus,
  parseDiskFormat,
  parseSerial,
  parseTargetDevice,
  type Driver,
} from '../../core/disk.js';
import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS } from '../../core/limits.js';
import { parseConsumer, parseDiskName, type DiskName } from '../../core/names.js';
import { diskPathOf } from '../../core/paths.js';
import type { Engine, RequestContext } from '../../core/requests.js';
import { refusal } from '../../core/text.js';
import { isLeaf, type Volume } from '../../core/volume.js';
import * as forms from './schemas.js';

/** What routes need to know, besides the engine. Pure. */
export interface VolumeFacts {
  /** The volume of a URL, or `invalid-argument` naming the field. */
  parseVolume(text: unknown, field: string): Volume;
  /** The mount base of the volume's backend. */
  mountBaseOf(volume: Volume): string;
  /** Cache and io modes for disks of the volume's backend. */
  driverOf(volume: Volume): Driver;
}

/** What a route works with. */
export interface House {
  readonly engine: Engine;
  readonly volumes: VolumeFacts;
  readonly version: string;
}

/** A request that has the form of its route. */
export interface Asked<Body> {
  readonly body: Body;
  /** The `{leaf}` of the path; empty where there is none. */
  readonly leaf: string;
}

/** One question that can be asked. */
export interface Route<Body = unknown> {
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** In OpenAPI's spelling: `/v1/mounts/{leaf}/hold`. */
  readonly path: string;
  readonly summary: string;
  /** Null: no body is looked at. */
  readonly body: z.ZodType<Body> | null;
  readonly reply: z.ZodType;
  /** Milliseconds the request asks for, or the default of the route. */
  deadlineMs(body: Body): number;
  answer(asked: Asked<Body>, context: RequestContext, house: House): unknown;
}

/** Ties a route's answer to its reply form, so that the document cannot promise what the code does not give. */
function route<Body, Reply>(
  given: Omit<Route<Body>, 'deadlineMs' | 'reply' | 'answer'> & {
    readonly reply: z.ZodType<Reply>;
    readonly deadline: number;
    answer(asked: Asked<Body>, context: RequestContext, house: House): Reply | Promise<Reply>;
  },
): Route {
  const { deadline, ...rest } = given;
  return {
    ...rest,
    deadlineMs: (body: Body) => (body as { readonly timeoutMs?: number } | undefined)?.timeoutMs ?? deadline,
  };
}

function diskOf(name: string | undefined): DiskName | null {
  return name === undefined ? null : parseDiskName(name, 'disk');
}

/** Everything there is. */
export const ROUTES: readonly Route[] = [
  route({
    name: 'connect',
    method: 'POST',
    path: '/v1/connect',
    summary: 'Make an attachment exist: mount the volume if needed, prove it, and say where it is.',
    body: forms.connectBody,
    reply: forms.connectReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ body }, context, { engine, volumes }) => {
      const request = {
        volume: volumes.parseVolume(body.url, 'url'),
        disk: diskOf(body.disk),
        consumer: parseConsumer(body.consumer, 'consumer'),
        readOnly: body.readOnly ?? false,
      };
      return body.dryRun === true ? engine.planConnect(request, context) : engine.connect(request, context);
    },
  }),
  route({
    name: 'disconnect',
    method: 'POST',
    path: '/v1/disconnect',
    summary: 'End an attachment; unmount the volume if nobody else uses it; say what is true of the mount.',
    body: forms.disconnectBody,
    reply: forms.disconnectReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ body }, context, { engine, volumes }) =>
      engine.disconnect(
        {
          volume: volumes.parseVolume(body.url, 'url'),
          disk: diskOf(body.disk),
          consumer: parseConsumer(body.consumer, 'consumer'),
        },
        context,
      ),
  }),
  route({
    name: 'validate',
    method: 'POST',
    path: '/v1/validate',
    summary: 'The verdict on a volume now, and why.',
    body: forms.validateBody,
    reply: forms.validateReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: ({ body }, context, { engine, volumes }) => engine.validate(volumes.parseVolume(body.url, 'url'), context),
  }),
  route({
    name: 'list',
    method: 'GET',
    path: '/v1/mounts',
    summary: 'Mounts with attachments, holds and verdicts, and what is releasing or stuck.',
    body: null,
    reply: forms.listReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: (_, __, { engine }) => engine.list(),
  }),
  route({
    name: 'diskConfig',
    method: 'POST',
    path: '/v1/disk-config',
    summary: "A disk's description for libvirt. Opens nothing and needs no mount.",
    body: forms.diskConfigBody,
    reply: forms.diskConfigReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: ({ body }, _, { volumes }) => {
      const volume = volumes.parseVolume(body.url, 'url');
      const file = diskPathOf(volumes.mountBaseOf(volume), volume.leaf, parseDiskName(body.disk, 'disk'));
      const disk = describeDisk({
        backend: volume.backend,
        file,
        format: parseDiskFormat(body.format, 'format'),
        driver: volumes.driverOf(volume),
        target: parseTargetDevice(body.target ?? 'vdb', 'target'),
        bus: parseDiskBus(body.bus, 'bus'),
        access: body.readOnly === true ? 'read-only' : 'read-write',
        serial: body.serial === undefined ? null : parseSerial(body.serial, 'serial'),
      });
      return { path: file, xml: diskXml(disk), ...disk };
    },
  }),
  route({
    name: 'liftHold',
    method: 'DELETE',
    path: '/v1/mounts/{leaf}/hold',
    summary: 'Lift the hold of a mount that was found without a record; it is then released unless it is used.',
    body: null,
    reply: forms.liftReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: ({ leaf }, context, { engine }) => {
      if (!isLeaf(leaf)) throw refusal('leaf', 'must be 32 lower-case hex digits, as ls shows them');
      return engine.liftHold(leaf, context);
    },
  }),
  route({
    name: 'doctor',
    method: 'GET',
    path: '/v1/doctor',
    summary: 'What is wrong on this host, and what mends it.',
    body: null,
    reply: forms.doctorReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: async (_, context, { engine }) => ({ findings: await engine.examine(context) }),
  }),
  route({
    name: 'health',
    method: 'GET',
    path: '/v1/health',
    summary: 'Whether the agent is up, whether it has a broker, and whether it is done with what a crash left open.',
    body: null,
    reply: forms.healthReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: (_, __, { engine, version }) => {
      const { broker, state } = engine.list();
      return { version, broker, state };
    },
  }),
];

// What the HTTP door offers, as a table: form of the request, form of the reply, and which question of the engine it is.
// The server, the OpenAPI document and the reference page are made from it. A route translates; it decides nothing.

import { parseDiskOptions } from '../../core/disk-options.js';
import { describeDisk, diskXml, parseDiskBus, parseDiskFormat, parseTargetDevice } from '../../core/disk.js';
import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS } from '../../core/limits.js';
import { parseConsumer, parseDiskName, type DiskName } from '../../core/names.js';
import { diskPathOf } from '../../core/paths.js';
import { refusal } from '../../core/text.js';
import { isLeaf } from '../../core/volume.js';
import { diskDescription, disconnectReply } from '../forms.js';
import { route, type Route } from '../route.js';
import * as forms from './schemas.js';

function diskOf(name: string | undefined): DiskName | null {
  return name === undefined ? null : parseDiskName(name, 'disk');
}

/** The routes of volumes and mounts. */
export const VOLUME_ROUTES: readonly Route[] = [
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
    reply: disconnectReply,
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
    reply: diskDescription,
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
        options: parseDiskOptions(body.options, 'options'),
      });
      return { path: file, xml: diskXml(disk), ...disk };
    },
  }),
  route({
    name: 'liftHold',
    method: 'DELETE',
    path: '/v1/mounts/{leaf}/hold',
    summary:
      'Lift the hold of a mount that was found without a record; it is then released unless it is used. `busy` while a domain or a process uses it, or may use it.',
    flags: { force: 'Lift it whoever uses the mount. Default false.' },
    body: null,
    reply: forms.liftReply,
    deadline: DEFAULT_SHORT_DEADLINE_MS,
    answer: ({ leaf, flags }, context, { engine }) => {
      if (!isLeaf(leaf)) throw refusal('leaf', 'must be 32 lower-case hex digits, as ls shows them');
      return engine.liftHold({ leaf, force: flags.has('force') }, context);
    },
  }),
  route({
    name: 'abort',
    method: 'DELETE',
    path: '/v1/mounts/{leaf}/connection',
    summary:
      'Abort the FUSE connection of a mount that hangs now. Everybody with open files there gets errors; the mount is then replaced for its users, or taken away.',
    body: null,
    reply: forms.abortReply,
    deadline: DEFAULT_DEADLINE_MS,
    answer: ({ leaf }, context, { engine }) => {
      if (!isLeaf(leaf)) throw refusal('leaf', 'must be 32 lower-case hex digits, as ls shows them');
      return engine.abort(leaf, context);
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
    answer: async (_, context, { engine, vm }) => {
      const found = await Promise.all([engine.examine(context), vm?.findings(context) ?? []]);
      return { findings: found.flat() };
    },
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

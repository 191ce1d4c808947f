// `hello`, `survey` and `domain`: what libvirt's domains are. The agent is told where a file lies only if that is below a mount base, or has a
// leaf's name in its path, since a base may be reached in other ways too: the disks of other guests are not its business, beyond the device
// names that they take.

import type { Domain } from '../../core/domains.js';
import { parseDomainName } from '../../core/domains.js';
import { INVENTORY_PART_BYTES, MAX_SHOWN_DOMAIN_BYTES } from '../../core/limits.js';
import { isBelow } from '../../core/paths.js';
import { BACKEND_NAMES, isLeaf } from '../../core/volume.js';
import type { Context } from '../context.js';
import { copiesOfLeaves, type MountCopy, throughLeaf } from '../mount-copies.js';
import { PROTOCOL_VERSION, type ResultOf, type SurveyPart } from '../protocol.js';
import type { Handler } from './handler.js';

/** The first request of every connection. Versions are compared by whoever asks. */
export const hello: Handler<'hello'> = () => Promise.resolve({ version: PROTOCOL_VERSION });

/** All domains, in parts. One with more files than are shown makes the survey incomplete. */
export const survey: Handler<'survey'> = async ({ context, deadline, emit }) => {
  const { domains, complete } = await context.libvirt.survey(deadline.remaining);
  const copies = copiesOfLeaves(context);
  let isWhole = complete;
  let part: SurveyPart['domains'] = [];
  let bytes = 0;
  for (const domain of domains) {
    const shown = show(context, copies, domain);
    if (shown.unknown === 'files') isWhole = false;
    part.push(shown);
    bytes += sizeOf(shown);
    if (bytes < INVENTORY_PART_BYTES) continue;
    emit({ domains: part } satisfies SurveyPart);
    part = [];
    bytes = 0;
  }
  if (part.length > 0) emit({ domains: part } satisfies SurveyPart);
  return { complete: isWhole };
};

/** One domain. */
export const domain: Handler<'domain'> = async ({ context, deadline }, { name }) => {
  const found = await context.libvirt.domain(parseDomainName(name, 'domain'), deadline.remaining);
  return show(context, copiesOfLeaves(context), found);
};

/** What the agent is told of a domain: at most {@link MAX_SHOWN_DOMAIN_BYTES}. */
function show({ settings }: Context, copies: readonly MountCopy[], domain: Domain): ResultOf<'domain'> {
  const isOurs = (path: string): boolean =>
    path.split('/').some(isLeaf) ||
    BACKEND_NAMES.some((backend) => isBelow(path, settings.backends[backend].mountBase));
  const { uuid, name, running, disks, unknown } = domain;
  const shown: ResultOf<'domain'> = { uuid, name, running, disks: [], otherFiles: [], remembered: [] };
  let room = MAX_SHOWN_DOMAIN_BYTES - sizeOf(shown);
  const add = <T>(list: T[], one: T): void => {
    room -= sizeOf(one) + 1;
    if (room >= 0) list.push(one);
  };
  // A file that is reached through a copy of a mount elsewhere is told by its path below the leaf.
  const told = (path: string): readonly string[] => [
    ...(isOurs(path) ? [path] : []),
    ...copies.flatMap((copy) => throughLeaf(copy, path) ?? []),
  ];
  for (const disk of disks) {
    add(shown.disks, disk.path === null || isOurs(disk.path) ? { ...disk } : { ...disk, path: null, serial: null });
    if (disk.path !== null && !isOurs(disk.path)) for (const path of told(disk.path)) add(shown.otherFiles, path);
  }
  for (const path of domain.otherFiles.flatMap(told)) add(shown.otherFiles, path);
  for (const path of domain.remembered.flatMap(told)) add(shown.remembered, path);
  const why = room < 0 ? 'files' : unknown;
  return why === undefined ? shown : { ...shown, unknown: why };
}

function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

// `grow`: a disk becomes larger, never smaller. Where running domains have it, QEMU does it, in each of them; where none has it, qemu-img
// does it. Which of both it is, all domains together say.

import { type DiskFormat, parseDiskFormat } from '../../core/disk.js';
import { ANY_FILE, filesOf, filesOnLeaves } from '../../core/domain-use.js';
import type { Domain, DomainDisk, DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import type { Context } from '../context.js';
import { checkDiskBytes } from '../disk-bytes.js';
import { giveToImageUser } from '../give.js';
import { openDisk, ROOTS_OWN } from '../image-chain.js';
import { copiesOfLeaves, throughLeaf } from '../mount-copies.js';
import { type DiskPlace, placeOf, requireUsable } from '../place.js';
import type { ResultOf } from '../protocol.js';
import { alone, type Call, type Handler } from './handler.js';

/** A running domain that has the disk. */
interface User {
  readonly domain: DomainUuid;
  readonly disk: DomainDisk;
}

/** See the file's head. */
export const grow: Handler<'grow'> = async (call, request) => {
  const { context, deadline } = call;
  const place = placeOf(context, request);
  const format = parseDiskFormat(request.format, 'format');
  const bytes = checkDiskBytes(request.bytes, 'bytes');
  requireUsable(context, place);
  return await alone(call, place.path, async () => {
    const { domains, complete } = await context.libvirt.survey(Math.max(1, deadline.remaining));
    const domain = domains.find(({ uuid }) => uuid === request.domain);
    const own = domain?.disks.filter(({ path }) => path === place.path) ?? [];
    if (own.length === 0) throw notThere(place, domain);
    if (own.some((disk) => disk.format !== format)) {
      const message = "The domain has the disk with another format. Give the disk's real format.";
      throw new FairleadError('conflict', message, { field: 'format', leaf: place.volume.leaf });
    }
    if (own.some((disk) => disk.live)) return await growLive(call, place, usersOf(domains, place), format, bytes);
    requireUnused(context, domains, complete, place);
    return await growImage(call, place, format, bytes);
  });
};

function notThere({ volume }: DiskPlace, domain: Domain | undefined): FairleadError {
  const [message, field] =
    domain === undefined
      ? ['libvirt has no such domain, or it cannot be read now. Look at virsh list --all.', 'domain']
      : ['The domain does not have this disk. Look at fairlead vm ls.', 'disk'];
  return new FairleadError('not-found', message, { field, leaf: volume.leaf });
}

function usersOf(domains: readonly Domain[], { path }: DiskPlace): readonly User[] {
  return domains
    .filter(({ running }) => running)
    .flatMap(({ uuid, disks }) =>
      disks.filter((disk) => disk.live && disk.path === path).map((disk) => ({ domain: uuid, disk })),
    );
}

/**
 * No running domain may use the file, as a disk or under one, whatever it calls the way to it: two that write an image
 * destroy it.
 */
function requireUnused(
  context: Context,
  domains: readonly Domain[],
  complete: boolean,
  { disk, volume }: DiskPlace,
): void {
  const details = { field: 'disk', leaf: volume.leaf };
  if (!complete) {
    const message = 'Not every domain could be read, so one of them may use the disk. Look at libvirt, then try again.';
    throw new FairleadError('unavailable', message, details);
  }
  const copies = copiesOfLeaves(context);
  const users = domains.filter(({ running, disks, otherFiles }) => {
    const paths = filesOf({ disks: disks.filter(({ live }) => live), otherFiles });
    const spelled = [...paths, ...paths.flatMap((path) => copies.flatMap((copy) => throughLeaf(copy, path) ?? []))];
    const files = filesOnLeaves(spelled).get(volume.leaf);
    return running && (files?.has(disk) === true || files?.has(ANY_FILE) === true);
  });
  if (users.length === 0) return;
  const count = users.length === 1 ? 'Another running domain uses' : `${users.length} other running domains use`;
  throw new FairleadError('busy', `${count} the disk. Grow it through one of them, or shut them down first.`, details);
}

async function growLive(
  call: Call,
  place: DiskPlace,
  users: readonly User[],
  format: DiskFormat,
  bytes: number,
): Promise<ResultOf<'grow'>> {
  const { context, deadline } = call;
  const { libvirt, log } = context;
  const inQemu = async ({ domain, disk }: User): Promise<number> =>
    (await libvirt.blockInfo(domain, disk.target, Math.max(1, deadline.remaining))).capacity;
  // Asked for a size, QEMU looks at all files of its guest, in the loop that runs the guest: one with a disk on a hung volume would stand still
  // altogether. So the file is read, by a child, wherever that says it: not where each of several domains has its own idea of the size, and not
  // where the file is larger than what is wanted, since an encrypted one is larger than what its guest sees.
  const inFile = users.length === 1;
  const sizeIn = async (user: User): Promise<number> =>
    (inFile ? await sizeOfImage(call, place, format) : null) ?? (await inQemu(user));
  const sizeBefore = async (user: User): Promise<number> => {
    const size = await sizeIn(user);
    return inFile && size > bytes ? await inQemu(user) : size;
  };
  // All are looked at before the first one is changed.
  const sizes = await Promise.all(users.map(async (user) => ({ user, before: await sizeBefore(user) })));
  for (const { before } of sizes) requireGrowth(place, before, bytes);
  const smaller = sizes.filter(({ before }) => before < bytes);
  // A file that has the size already may have got it from another host's guest: ours is told all the same, which changes nothing if it knows.
  for (const { user } of inFile ? sizes : smaller) {
    await libvirt.blockResize(user.domain, user.disk.target, bytes, Math.max(1, deadline.remaining));
    if ((await sizeIn(user)) < bytes) throw notGrown(place);
  }
  if (smaller.length > 0)
    log.info('disk-grown', { leaf: place.volume.leaf, by: 'hypervisor', domains: smaller.length });
  return { changed: smaller.length > 0, by: 'hypervisor', bytes };
}

/** Bytes of an image that a guest has, as its file says them; null where QEMU runs as another user than the one of images and keeps it. */
function sizeOfImage({ context, deadline }: Call, place: DiskPlace, format: DiskFormat): Promise<number | null> {
  return context.images.with(place.volume.leaf, deadline, 'image-user', async (hands) => {
    const answer = await hands.open(place.image, 'read', format);
    if (answer.kind === 'denied') return null;
    if (answer.kind !== 'opened') throw hands.explain(answer);
    return answer.size;
  });
}

async function growImage(call: Call, place: DiskPlace, format: DiskFormat, bytes: number): Promise<ResultOf<'grow'>> {
  const { context, deadline } = call;
  const work = (): Promise<boolean | typeof ROOTS_OWN> =>
    context.images.with(place.volume.leaf, deadline, 'image-user', async (hands) => {
      const opened = await openDisk(hands, place, 'write', format);
      if (opened === ROOTS_OWN) return ROOTS_OWN;
      requireGrowth(place, opened.size, bytes);
      if (opened.size === bytes) return false;
      if (opened.encrypted) {
        const message =
          'An encrypted image is grown only while a running domain has it. Start the domain, then try again.';
        throw new FairleadError('conflict', message, { field: 'disk', leaf: place.volume.leaf });
      }
      await hands.resize(opened.node, bytes);
      if ((await hands.measure(opened.node.image, format)) < bytes) throw notGrown(place);
      return true;
    });
  let changed = await work();
  if (changed === ROOTS_OWN) {
    await giveToImageUser(call, place);
    changed = await work();
  }
  if (changed === ROOTS_OWN) throw new FairleadError('busy', 'The owner of the disk keeps changing. Try again.');
  if (changed) context.log.info('disk-grown', { leaf: place.volume.leaf, by: 'image' });
  return { changed, by: 'image', bytes };
}

function requireGrowth({ volume }: DiskPlace, now: number, bytes: number): void {
  if (bytes >= now) return;
  const message = `The disk has ${now} bytes and is never made smaller. Ask for ${now} or more.`;
  throw new FairleadError('invalid-argument', message, { field: 'bytes', leaf: volume.leaf });
}

function notGrown({ volume }: DiskPlace): FairleadError {
  const message = 'The disk was to be grown, but it has not grown. Look at it (qemu-img info), then try again.';
  return new FairleadError('helper-failed', message, { field: 'disk', leaf: volume.leaf });
}

// `plug`: a running domain, or the next start of one, gets a disk. The domain is looked at before and after: what its description says
// decides, and libvirt's answer only says where to look for the reason.

import {
  type BackingFile,
  checkDriverPair,
  describeDisk,
  diskXml,
  parseDiskBus,
  parseDiskFormat,
  parseTargetDevice,
} from '../../core/disk.js';
import { parseDiskOptions } from '../../core/disk-options.js';
import type { Domain, DomainDisk, DomainName, DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { DOMAIN_LOOK_MS } from '../../core/limits.js';
import { refusal } from '../../core/text.js';
import { openDisk, ROOTS_OWN } from '../image-chain.js';
import type { DeviceScope } from '../libvirt/libvirt.js';
import { type DiskPlace, placeOf, requireUsable } from '../place.js';
import type { RequestOf } from '../protocol.js';
import { detachXml } from '../detach-xml.js';
import { giveToImageUser } from '../give.js';
import { alone, type Call, type Handler } from './handler.js';

/** The disk as it is wanted, every part of it parsed. */
type Wanted = Omit<Parameters<typeof describeDisk>[0], 'backend' | 'driver'>;

/** See the file's head. */
export const plug: Handler<'plug'> = async (call, request) => {
  const { context } = call;
  const place = placeOf(context, request);
  const wanted = readWanted(request, place);
  requireUsable(context, place);
  return await alone(call, request.domain, async () => {
    const before = await look(call, request.domain);
    if (request.scope === 'running' && !before.running) {
      throw refusal('scope', 'must be both for a domain that is not running: it can only be told of its next start');
    }
    const missing = missingScope(before, wanted, request.scope);
    if (missing === null) return { changed: false };
    const backing = await checkImage(call, place, wanted);
    const { driverCache, driverIo } = context.settings.backends[place.volume.backend];
    const driver = checkDriverPair(driverCache, driverIo, `backend.${place.volume.backend}`);
    const description = describeDisk({ ...wanted, backend: place.volume.backend, driver });
    await attach(call, { domain: request.domain, wanted, xml: diskXml(description, backing), missing, request });
    context.log.info('disk-plugged', { domain: request.domain, leaf: place.volume.leaf, scope: missing });
    return { changed: true };
  });
};

function readWanted(request: RequestOf<'plug'>, place: DiskPlace): Wanted {
  return {
    file: place.path,
    format: parseDiskFormat(request.format, 'format'),
    target: parseTargetDevice(request.target, 'target'),
    bus: parseDiskBus(request.bus, 'bus'),
    access: request.access,
    options: parseDiskOptions(request.options, 'options'),
  };
}

/** The domain now; a part of the time is kept for what comes after. */
function look({ context, deadline }: Call, domain: DomainUuid): Promise<Domain> {
  return context.libvirt.domain(domain as string as DomainName, Math.max(1, deadline.remaining));
}

/**
 * Which descriptions of the domain lack the disk; null: none does. Throws `conflict` when the target is another disk's, or the domain has
 * this file in another way.
 */
function missingScope(domain: Domain, wanted: Wanted, scope: 'running' | 'both'): DeviceScope | null {
  const same: DomainDisk[] = [];
  for (const disk of domain.disks) {
    if (disk.path !== wanted.file && disk.target !== wanted.target) continue;
    const field = differing(disk, wanted);
    if (field !== null) throw conflict(field, disk);
    same.push(disk);
  }
  const live = domain.running && !same.some((disk) => disk.live);
  const next = scope === 'both' && !same.some((disk) => disk.persistent);
  if (live) return next ? 'both' : 'live';
  return next ? 'config' : null;
}

/** In which field a disk differs from the wanted one; null: in none that libvirt tells of. */
function differing(disk: DomainDisk, wanted: Wanted): string | null {
  if (disk.path !== wanted.file) return 'target';
  if (disk.target !== wanted.target) return 'disk';
  if (disk.bus !== wanted.bus) return 'bus';
  if (disk.format !== wanted.format) return 'format';
  if (disk.readOnly !== (wanted.access === 'read-only')) return 'access';
  return disk.serial === (wanted.options.serial ?? null) ? null : 'options.serial';
}

function conflict(field: string, disk: DomainDisk): FairleadError {
  switch (field) {
    case 'target': {
      const message = `The domain has another disk at ${disk.target}. Choose another target.`;
      return new FairleadError('conflict', message, { field });
    }
    case 'disk': {
      const message = `The domain has this disk already, at ${disk.target}. Ask for that target, or detach it first.`;
      return new FairleadError('conflict', message, { field: 'target' });
    }
    default: {
      const message = `The domain has this disk at ${disk.target} with another ${field.replace('options.', '')}. Ask for it as it is, or detach it first.`;
      return new FairleadError('conflict', message, { field });
    }
  }
}

/** What the image rests on, if the image user may open all of it and it names nothing that it may not. */
async function checkImage(call: Call, place: DiskPlace, { format }: Wanted): Promise<readonly BackingFile[]> {
  const { context, deadline } = call;
  const check = (): ReturnType<typeof openDisk> =>
    context.images.with(place.volume.leaf, deadline, 'image-user', (hands) => openDisk(hands, place, 'read', format));
  const first = await check();
  if (first !== ROOTS_OWN) return first.backing;
  await giveToImageUser(call, place);
  const second = await check();
  if (second === ROOTS_OWN) throw new FairleadError('busy', 'The owner of the disk keeps changing. Try again.');
  return second.backing;
}

interface Attach {
  readonly domain: DomainUuid;
  readonly wanted: Wanted;
  readonly xml: string;
  readonly missing: DeviceScope;
  readonly request: RequestOf<'plug'>;
}

async function attach(call: Call, { domain, wanted, xml, missing, request }: Attach): Promise<void> {
  const { context, deadline } = call;
  let failure: FairleadError | null = null;
  try {
    await context.libvirt.attachDevice(domain, xml, missing, budget(call));
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    failure = error;
  }
  const after = await lookAfter(call, domain);
  if (after === null) throw unsure(failure);
  const left = missingAfter(after, wanted, request.scope);
  if (left === null) return;
  if (failure === null) throw unsure(null);
  // Nobody knows whether libvirt will do yet what it was asked; whoever asks again finds out.
  if (failure.code === 'deadline-exceeded' || failure.code === 'unavailable') throw unsure(failure);
  if (missing === 'both' && left === 'config') {
    await context.libvirt.detachDevice(domain, detachXml(wanted), 'live', Math.max(1, deadline.remaining));
    const message =
      'libvirt gave the disk to the running domain but could not note it for the next start, so it is taken away again.';
    throw new FairleadError('helper-failed', `${message} Read what libvirt said beside this error, then try again.`, {
      ...(failure.helperOutput === undefined ? {} : { helperOutput: failure.helperOutput }),
      cause: failure,
    });
  }
  throw failure;
}

/** {@link missingScope}, but another disk at the target is no reason to say more than that ours is missing. */
function missingAfter(after: Domain, wanted: Wanted, scope: 'running' | 'both'): DeviceScope | null {
  return missingScope(
    { ...after, disks: after.disks.filter((disk) => differing(disk, wanted) === null) },
    wanted,
    scope,
  );
}

async function lookAfter(call: Call, domain: DomainUuid): Promise<Domain | null> {
  try {
    return await look(call, domain);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return null;
  }
}

/** The time for libvirt, with some kept back to look at the domain afterwards. */
function budget({ deadline }: Call): number {
  return Math.max(1, deadline.before(Math.min(DOMAIN_LOOK_MS, deadline.remaining / 3)));
}

function unsure(cause: FairleadError | null): FairleadError {
  const message =
    'It is not known whether the domain has the disk: libvirt did not say so in time. Try again, or look at virsh domblklist.';
  return new FairleadError('deadline-exceeded', message, cause === null ? {} : { cause });
}

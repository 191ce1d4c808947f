// Connect: make an attachment exist. The mount is made usable first, the attachment is recorded last, in one commit with
// the closing of the operation; before that commit nothing has been promised, after it nothing may be lost.

import { FairleadError } from '../core/errors.js';
import type { DiskName } from '../core/names.js';
import type { DiskSight } from '../core/observation.js';
import { isServed, planConnect } from '../core/plan.js';
import type { AttachmentRecord, Change } from '../core/records.js';
import type { ConnectPlan, ConnectReply, ConnectRequest, RequestContext } from '../core/requests.js';
import type { Access } from '../core/verdict.js';
import type { Volume } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import { verdictOf, type Context } from './context.js';
import { Deadline } from './deadline.js';
import { ensureUsable, type Ensured } from './ensure.js';
import { underLock, type Exchange } from './exchange.js';
import { closing } from './execute.js';
import type { Moment } from './looks.js';
import { putInOrder } from './order.js';

/** What the answer says where read-only is not enforced by the mount. */
const READ_ONLY_NOTE =
  'Read-only is advisory here: the mount is shared and writable. The disk description enforces it; writing to the path is not prevented.';

/** What the answer says where an earlier client is still in use. */
const BESIDE_NOTE =
  'An earlier mount of this volume is still in use where it was copied or moved to, so this one was made beside it. ls shows it.';

/** Makes the attachment exist, once. */
export async function connect(
  context: Context,
  caretaker: Caretaker,
  request: ConnectRequest,
  requestContext: RequestContext,
): Promise<ConnectReply> {
  context.ports.settings.authorise(request.volume);
  const came = context.looks.next();
  return underLock<ConnectReply>(context, request.volume.leaf, requestContext, async (deadline, exchange) => {
    // Before anything that a failure would undo: the leaf may be another volume's.
    context.requireOwnLeaf(request.volume);
    try {
      return await connectLocked(context, request, came, deadline, exchange);
    } catch (error) {
      exchange.failing(error);
      await undo(context, caretaker, request.volume);
      throw error;
    }
  });
}

async function connectLocked(
  context: Context,
  request: ConnectRequest,
  came: Moment,
  deadline: Deadline,
  exchange: Exchange<ConnectReply>,
): Promise<ConnectReply> {
  const { volume, disk, consumer, readOnly } = request;
  const present = context.state.findAttachment(volume.leaf, consumer, disk);
  if (present !== undefined && present.readOnly !== readOnly) {
    throw new FairleadError(
      'conflict',
      `This consumer has this attachment already, ${present.readOnly ? 'read-only' : 'read-write'}. Disconnect it first, or ask for the same.`,
      { field: 'readOnly', leaf: volume.leaf },
    );
  }
  const inherited = !context.state.mounts.has(volume.leaf);
  const ensured = await ensureUsable(context, volume, { access: accessOf(request), disk, came }, deadline, exchange);
  const diskState = disk === null ? null : await checkDisk(context, volume, disk, ensured.disk, deadline);
  if (deadline.isOver() || exchange.isAnswered()) {
    throw new FairleadError('deadline-exceeded', 'The deadline passed, or the client went away. Try again.', {
      leaf: volume.leaf,
    });
  }
  context.ports.reach('connect.verified');
  const attachment: AttachmentRecord = present ?? {
    id: context.ports.random.id(),
    consumer,
    leaf: volume.leaf,
    disk,
    target: null,
    readOnly,
    since: context.ports.clock.date(),
  };
  const changes = recording(context, request, attachment, present === undefined, inherited && ensured.foundMounted);
  await context.commit(changes);
  if (changes.length > 0) context.ports.reach('connect.recorded');
  context.evidence.renew(attachment);
  // `note` remembers only recorded mounts, and this one may have become one just now.
  context.note(ensured.observation);
  if (present === undefined && exchange.isAnswered()) await takeBack(context, attachment);
  return replyTo(context, request, attachment, ensured, present === undefined, diskState);
}

/** Everything that must become true at once for the attachment to exist. */
function recording(
  context: Context,
  { volume }: ConnectRequest,
  attachment: AttachmentRecord,
  isNew: boolean,
  inherited: boolean,
): readonly Change[] {
  const record = context.state.mounts.get(volume.leaf);
  const { bootId } = context.ports.settings;
  const since = context.ports.clock.date();
  const recorded = record?.state === 'mounted' && record.bootId === bootId;
  return [
    ...(recorded ? [] : [{ kind: 'put-mount', mount: { volume, state: 'mounted', bootId } } as const]),
    ...(inherited ? [{ kind: 'put-hold', hold: { leaf: volume.leaf, reason: 'inherited', since } } as const] : []),
    ...(isNew ? [{ kind: 'put-attachment', attachment } as const] : []),
    ...closing(context, volume),
  ];
}

/** The commit came after the answer: the client was told that it failed, so it must not stay. */
async function takeBack(context: Context, attachment: AttachmentRecord): Promise<never> {
  await context.commit([{ kind: 'end-attachment', id: attachment.id }]);
  throw new FairleadError('deadline-exceeded', 'The attachment was recorded too late and taken back.', {
    leaf: attachment.leaf,
  });
}

function replyTo(
  context: Context,
  request: ConnectRequest,
  attachment: AttachmentRecord,
  { observation, changed }: Ensured,
  isNew: boolean,
  diskState: 'present' | 'absent' | null,
): ConnectReply {
  const { volume, disk, readOnly } = request;
  const mountpoint = context.ports.settings.mountpointOf(volume);
  return {
    attachment: attachment.id,
    leaf: volume.leaf,
    mountpoint,
    path: disk === null ? mountpoint : `${mountpoint}/${disk}`,
    verdict: observation.judgement?.verdict ?? 'healthy',
    changed: changed || isNew,
    isNew,
    ...(diskState === null ? {} : { disk: diskState }),
    notes: [
      ...(readOnly && observation.mounts.at(-1)?.readOnly !== true ? [READ_ONLY_NOTE] : []),
      ...(isServed(observation) ? [BESIDE_NOTE] : []),
    ],
  };
}

function accessOf(request: ConnectRequest): Access {
  return request.readOnly ? 'read-only' : 'read-write';
}

/** What was seen of the disk; where the look was shared with other requests, the disk is looked at by itself. */
async function checkDisk(
  context: Context,
  volume: Volume,
  name: DiskName,
  seen: DiskSight | null,
  deadline: Deadline,
): Promise<'present' | 'absent'> {
  const disk = seen ?? (await context.ports.broker.disk(volume, name, deadline.remaining));
  if (disk.state === 'failed') {
    const message = `The volume answered ${disk.errno} for the disk. Look at the storage service.`;
    throw new FairleadError('unhealthy', message, { leaf: volume.leaf });
  }
  if (disk.state === 'regular') return 'present';
  if (disk.state === 'absent') return 'absent';
  const found = disk.state === 'link' ? 'a symbolic link' : 'neither a file nor absent';
  throw new FairleadError(
    'foreign',
    `What lies in the volume under the disk's name is ${found}. A disk is a regular file.`,
    {
      field: 'disk',
      leaf: volume.leaf,
    },
  );
}

/**
 * After a failed connect: whatever it made goes away again, unless somebody else uses it. What cannot be done now is
 * worked off in the background; what is not over when the engine stops stays in the journal.
 */
async function undo(context: Context, caretaker: Caretaker, volume: Volume): Promise<void> {
  const { state, stopping } = context;
  const { leaf } = volume;
  const begun = state.operations.has(leaf);
  const unused = state.mounts.get(leaf)?.state === 'mounted' && !state.isUsed(leaf);
  if (stopping.signal.aborted || (!begun && !unused)) return;
  context.ports.reach('undo.begun');
  if (state.isUsed(leaf)) {
    // What was begun was begun for its users too: the caretaker brings their mount back, however long that takes.
    caretaker.schedule(volume);
    return;
  }
  try {
    if ((await putInOrder(context, volume)) !== 'in-order') caretaker.schedule(volume);
  } catch (error) {
    context.ports.log.warn('undo-failed', { leaf, error });
    caretaker.schedule(volume);
  }
}

/** What a connect would do, without doing any of it. */
export async function planOnly(
  context: Context,
  request: ConnectRequest,
  { deadlineMs, signal }: RequestContext,
): Promise<ConnectPlan> {
  const { volume } = request;
  context.checkRunning();
  context.ports.settings.authorise(volume);
  context.requireOwnLeaf(volume);
  const deadline = new Deadline(context.ports.clock, deadlineMs, signal);
  const observation = await context.observe(volume, accessOf(request), deadline.remaining);
  const plan = planConnect(observation, accessOf(request));
  if (plan.kind === 'refuse') throw plan.error;
  return {
    leaf: volume.leaf,
    mountpoint: context.ports.settings.mountpointOf(volume),
    verdict: verdictOf(observation) ?? 'absent',
    steps: plan.kind === 'ready' ? [] : plan.steps,
  };
}

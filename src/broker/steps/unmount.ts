// The `unmount` step: the topmost mount of the leaf, if it is the volume, by umount2 with UMOUNT_NOFOLLOW in a child, or
// by the configured helper in a unit. Neither an exit status nor a message decides what happened: the mount table does.

import type { StepEnd } from '../../core/steps.js';
import { BUSY_RETRIES, CLIENT_END_MS, KILL_GRACE_MS, LOOK_LAST_MS, MAX_HELPERS } from '../../core/limits.js';
import { LATE, within } from '../../core/deadline.js';
import type { HelperEnd } from '../../sys/ports.js';
import type { Command } from '../place.js';
import { requireRecognised, requireSoundBase } from '../policy.js';
import { awaitClients, endHelper, noteSuperblock } from '../client-states.js';
import { holdersInDoubt } from '../holders.js';
import { noProcess } from '../no-process.js';
import { empty, helpersOver } from '../quiet.js';
import { look, type SeenMount, stillOnTop, stillThere } from '../sight.js';
import { CHANGED, refused, UNCHANGED, unknown } from '../step-ends.js';
import { notStarted } from './not-started.js';
import type { Attempt, Executor } from './step.js';

/** Milliseconds kept back for looking and answering after everything else had its time. */
const ANSWER_RESERVE_MS = 100;

/** An unmount that had no time to be answered says nothing about the server. */
const NO_TIME = 'There was no time left to unmount. Try again.';
const CHANGED_MEANWHILE = 'The mount changed while it was busy. Observe it, then try again.';

/** See the file's head. */
export const unmount: Executor = async (attempt) => {
  const { context, place, deadline, begin } = attempt;
  requireSoundBase(context, place);
  if (requireRecognised(place, await look(context, place, deadline)) === null) return UNCHANGED;
  const acting = await helperActing(attempt);
  if (acting !== null) return acting;
  // A helper that was ended, or an earlier unmount, may have changed what is there.
  const mount = requireRecognised(place, await look(context, place, deadline));
  if (mount === null) return UNCHANGED;
  if (deadline.before(ANSWER_RESERVE_MS) < LOOK_LAST_MS) return refused(place, 'deadline-exceeded', NO_TIME);
  const command = place.unmountCommand();
  if (command !== null && context.unmountHelpers.count >= MAX_HELPERS) {
    return refused(place, 'resource-exhausted', 'Too many unmount helpers are at work. Try again later.');
  }
  noteSuperblock(context, place, mount.entry.dev);
  begin();
  const end = command === null ? await byKernel(attempt, mount) : await byHelper(attempt, command, mount);
  if (end !== CHANGED) return end;
  context.reach('broker.unmount.done');
  await clientEnds(attempt);
  return CHANGED;
};

/**
 * A client ends by itself when the last that used it is gone, mostly at once, and is given a moment for it. It is not
 * ended: it may write back, or serve a copy. A helper that hangs and serves nothing is.
 */
async function clientEnds({ context, place, deadline }: Attempt): Promise<void> {
  if (context.clients.of(place).length === 0) return;
  const patience = Math.min(CLIENT_END_MS, deadline.before(2 * KILL_GRACE_MS));
  const states = await awaitClients(context, place, deadline, patience, (now) =>
    now.every(({ superblock, unit }) => superblock !== 'gone' || unit === 'idle'),
  );
  for (const state of states ?? []) if (state.unit === 'starting') await endHelper(context, place, state, deadline);
}

/** A helper that is still at work is waited for: what it does later must not come after our unmount. */
async function helperActing({ context, place, deadline }: Attempt): Promise<StepEnd | null> {
  if (context.prober.acts.acting(place.mountpoint)) {
    return refused(place, 'hung', 'An earlier step on this volume has not been answered yet. It is worked off.');
  }
  if (place.identifiedBy !== null) return null;
  const isQuiet =
    (await empty(context, place.unmountUnit, deadline)) && (await helpersOver(context, place, deadline)) === 'quiet';
  if (isQuiet) return null;
  return refused(place, 'stuck', 'An earlier operation on this volume may still act. It is worked off; try again.');
}

async function byKernel(attempt: Attempt, mount: SeenMount): Promise<StepEnd> {
  const { context, place, deadline } = attempt;
  const { machine, prober } = context;
  const target = place.target(mount.entry.dev);
  for (let retries = 0; ; retries += 1) {
    const working = prober.acts.unmount(place.base, place.volume.leaf, 'plain');
    const end = await within(machine.clock, working, deadline.before(ANSWER_RESERVE_MS));
    if (end === LATE) {
      return unknown(place, 'hung', 'The unmount was not answered in time and may still happen. It is worked off.');
    }
    if (!stillThere(context, place, mount)) return CHANGED;
    if (end.end === 'exhausted') {
      return refused(
        place,
        'resource-exhausted',
        end.why === 'not-started'
          ? noProcess(machine)
          : 'Too many unmounts hang. Look at the storage service, then try again.',
      );
    }
    if (end.end === 'lost') {
      return refused(place, 'unavailable', 'The process that unmounts ended unexpectedly. Try again.');
    }
    if (end.errno !== 'EBUSY') {
      const errno = end.errno ?? 'success, although the mount is still there';
      return refused(place, 'unhealthy', `The kernel did not unmount the volume (${errno}). Try again.`);
    }
    // Our own probe makes a mount busy too; it is never what a caller should hear of.
    const using = prober.using(target);
    if (using === 'hung') return refused(place, 'hung', 'The server does not answer, so the mount cannot be released.');
    if (retries >= BUSY_RETRIES || deadline.before(ANSWER_RESERVE_MS) <= 2 * LOOK_LAST_MS) return busy(attempt);
    if (using === 'no' && retries > 0) return busy(attempt);
    await machine.clock.sleep(LOOK_LAST_MS);
    // umount2 takes whatever is on top by then.
    if (!stillThere(context, place, mount)) return UNCHANGED;
    if (!stillOnTop(context, place, mount)) return refused(place, 'unavailable', CHANGED_MEANWHILE);
  }
}

function busy({ place }: Attempt): StepEnd {
  return refused(place, 'busy', 'Processes use the mount. End them, or wait until they have ended.');
}

async function byHelper(attempt: Attempt, command: Command, mount: SeenMount): Promise<StepEnd> {
  const { context, place, deadline } = attempt;
  const { machine, unmountHelpers } = context;
  const budgetMs = Math.floor(
    Math.min(place.settings.mountTimeoutMs, deadline.before(KILL_GRACE_MS + ANSWER_RESERVE_MS)),
  );
  if (budgetMs < 1) return refused(place, 'deadline-exceeded', NO_TIME);
  unmountHelpers.count += 1;
  const running = machine.units.start({ unit: place.unmountUnit, ...command, budgetMs }).finally(() => {
    unmountHelpers.count -= 1;
  });
  const ended = await within(machine.clock, running, deadline.before(ANSWER_RESERVE_MS));
  if (ended === LATE || (ended.end === 'late' && !(await endUnmountHelper(attempt, ended)))) {
    return unknown(place, 'hung', 'The unmount helper was not ended in time and may still act. It is worked off.');
  }
  if (!stillThere(context, place, mount)) return CHANGED;
  if (ended.end === 'not-started') return notStarted(context, place, ended);
  const ms = deadline.before(ANSWER_RESERVE_MS);
  const found = await within(machine.clock, holdersInDoubt(context, place, [mount.entry], ms), ms);
  if (found !== LATE && found.holders.length > 0) return busy(attempt);
  if (ended.end === 'late') {
    return refused(place, 'hung', 'The unmount helper did not end within its time and was ended. Try again.');
  }
  return refused(place, 'helper-failed', 'The unmount helper ended and the volume is still mounted. Try again.', {
    helperOutput: context.helperOutputs.keep(place, ended.output),
  });
}

/** True when it is certain that nothing of the helper acts any more. */
async function endUnmountHelper(
  { context, place, deadline }: Attempt,
  { isKnown }: Extract<HelperEnd, { readonly end: 'late' }>,
): Promise<boolean> {
  return (await empty(context, place.unmountUnit, deadline)) && isKnown;
}

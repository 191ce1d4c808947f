// A mount helper, from its start to the moment when nothing of it acts any more. Its exit status is a hint: what counts
// is what the table shows at the leaf, and that it does not show the volume anywhere else.

import type { MountWay } from '../../backends/backend.js';
import {
  APPEAR_TIMEOUT_MS,
  KILL_GRACE_MS,
  LOOK_FIRST_MS,
  LOOK_LAST_MS,
  MAX_CLIENTS_PER_LEAF,
  MAX_HELPERS,
} from '../../core/limits.js';
import type { MountEntry } from '../../core/mountinfo.js';
import type { StepEnd } from '../../core/steps.js';
import type { HelperEnd } from '../../sys/ports.js';
import { LATE, until, within } from '../../core/deadline.js';
import { clientsOf, endHelper, isHelper, noteSuperblock } from '../client-states.js';
import type { Client } from '../clients.js';
import { look, type SeenMount, type Sight } from '../sight.js';
import { CHANGED, refused, unknown } from '../step-ends.js';
import { type Generation, unitName } from '../unit-names.js';
import { notStarted } from './not-started.js';
import type { Attempt } from './step.js';
import { takeAway } from './take-away.js';

/** Milliseconds kept back for looking and answering after everything else had its time. */
const ANSWER_RESERVE_MS = 100;

/** Runs the helper of a leaf that is empty and quiet. */
export async function mountByHelper(attempt: Attempt, way: Extract<MountWay, { way: 'helper' }>): Promise<StepEnd> {
  const { context, place, deadline, begin } = attempt;
  const { machine, helpers, clients } = context;
  const budgetMs = Math.floor(
    Math.min(place.settings.mountTimeoutMs, deadline.before(KILL_GRACE_MS + ANSWER_RESERVE_MS)),
  );
  if (budgetMs < 1) {
    return refused(place, 'deadline-exceeded', 'There was no time left to start the mount helper. Try again.');
  }
  if (helpers.count >= MAX_HELPERS) {
    return refused(place, 'resource-exhausted', 'Too many mount helpers are at work. Try again later.');
  }
  const generation = freeGeneration(clients.of(place));
  if (generation === null) {
    const message =
      'Too many earlier clients of this volume still serve somebody. End whoever uses them; ls shows them.';
    return refused(place, 'resource-exhausted', message);
  }
  const before = new Set(machine.table.below('/').map(({ mountId }) => mountId));
  const { id } = clients.begin(place, {
    generation,
    begun: machine.uptime(),
    budgetMs,
    earlier: machine.superblocks.all(),
    helper: null,
    isOver: false,
    superblock: null,
    isDead: false,
  });
  begin();
  const begun = machine.clock.now();
  context.reach('broker.mount.starting');
  helpers.count += 1;
  context.unitsSeen.begin(place.mountpoint);
  const running = machine.units
    .start({
      unit: unitName('mount', place.base, place.volume.leaf, generation),
      program: way.program,
      args: way.args,
      budgetMs,
      forked: (helper) => {
        context.reach('broker.mount.forked');
        clients.learn(place, id, { helper });
      },
    })
    .finally(() => {
      helpers.count -= 1;
    });
  const learnEnd = ({ end }: HelperEnd): void => {
    if (end !== 'late') clients.learn(place, id, { isOver: true });
  };
  // Where the start itself fails in a way that nobody foresaw, the helper counts as at work until its time is up.
  running.then(learnEnd, () => undefined);
  const ended = await within(machine.clock, running, deadline.before(ANSWER_RESERVE_MS));
  context.reach('broker.mount.helper-ended');
  if (ended === LATE) {
    return unknown(place, 'stuck', 'The mount helper was not ended in time and may still act. It is worked off.');
  }
  if (ended.end === 'not-started') {
    clients.drop(place, id);
    // Something is in the unit of which nothing was known.
    if (ended.why === 'name-in-use') clients.find(place, { generation });
    return notStarted(context, place, ended);
  }
  const seen = await firstSight(attempt, ended, begun + place.settings.mountTimeoutMs - machine.clock.now());
  if (seen.top?.recognised === true && (succeeded(ended) || !(await isDead(attempt, seen.top)))) {
    return mounted(attempt, seen.top, id);
  }
  return clearUp(attempt, ended, before, id);
}

/** The volume is where it belongs. Whether its helper is still at work does not matter any more: nobody ends it. */
function mounted({ context, place }: Attempt, top: SeenMount, id: number): StepEnd {
  noteSuperblock(context, place, top.entry.dev);
  context.clients.learn(place, id, { isOver: true });
  context.reach('broker.mount.done');
  return CHANGED;
}

/** The first unit of the leaf that no client is in; null if there are too many. */
function freeGeneration(known: readonly Client[]): Generation | null {
  const taken = new Set(known.map(({ generation }) => generation));
  for (let generation = 1; generation <= MAX_CLIENTS_PER_LEAF; generation += 1) {
    if (!taken.has(generation)) return generation;
  }
  return null;
}

function succeeded(ended: HelperEnd): boolean {
  return ended.end === 'exited' && ended.status === 0;
}

/** The leaf after the helper; where it reports success the mount is waited for, as long as a mount may take in all. */
async function firstSight({ context, place, deadline }: Attempt, ended: HelperEnd, leftMs: number): Promise<Sight> {
  const patience = succeeded(ended)
    ? Math.max(0, Math.min(APPEAR_TIMEOUT_MS, leftMs, deadline.before(KILL_GRACE_MS + ANSWER_RESERVE_MS)))
    : 0;
  const seen = await until(context.machine.clock, patience, { first: LOOK_FIRST_MS, last: LOOK_LAST_MS }, async () => {
    const sight = await look(context, place, deadline);
    return sight.top === undefined && (sight.directory === 'empty' || sight.directory === 'mounted') ? null : sight;
  });
  return seen ?? look(context, place, deadline);
}

/**
 * The helper failed or takes too long, or the volume is not where it belongs: undo what it did instead, end what is left
 * of it if it serves nothing, and say what is true.
 */
async function clearUp(attempt: Attempt, ended: HelperEnd, before: ReadonlySet<number>, id: number): Promise<StepEnd> {
  const helperOutput = outputOf(attempt, ended);
  const first = await undoInstead(attempt, before, helperOutput);
  const { context, place, deadline } = attempt;
  const isEnded = (await endLeftOver(attempt, id)) && !(ended.end === 'late' && !ended.isKnown);
  // It may have mounted in its last moment.
  const { top } = await look(context, place, deadline);
  if (top?.recognised === true) {
    if (!(await isDead(attempt, top))) return mounted(attempt, top, id);
    if (!(await takeAway(attempt, place.base, place.volume.leaf, top.entry))) return mounted(attempt, top, id);
  }
  if (!isEnded) {
    const message = 'The mount helper cannot be ended and may still act. It is worked off.';
    return unknown(place, 'stuck', message, { helperOutput });
  }
  return first ?? (await undoInstead(attempt, before, helperOutput)) ?? failure(attempt, ended, helperOutput);
}

/** Ends what is left of the helper; false if it may still act. */
async function endLeftOver({ context, place, deadline }: Attempt, id: number): Promise<boolean> {
  const states = await clientsOf(context, place, deadline);
  const left = states?.find(({ client }) => client.id === id);
  if (states !== null && (left === undefined || !isHelper(left))) return true;
  return left !== undefined && (await endHelper(context, place, left, deadline)) === 'gone';
}

/** Takes away what the helper mounted instead of the volume at its leaf; null: nothing of that kind is there. */
async function undoInstead(
  attempt: Attempt,
  before: ReadonlySet<number>,
  helperOutput: string,
): Promise<StepEnd | null> {
  const { context, place, deadline } = attempt;
  const stray = await strayOf(attempt, before);
  if (stray !== null) {
    const message = 'The leaf was exchanged while the volume was mounted, and the mount landed elsewhere.';
    return (await takeAway(attempt, ...parentAndName(stray.mountPoint), stray))
      ? refused(place, 'permission-denied', `${message} It was undone. Find out who did this.`, { helperOutput })
      : unknown(place, 'permission-denied', `${message} It could not be undone. Unmount it by hand.`, { helperOutput });
  }
  const { top } = await look(context, place, deadline);
  if (top === undefined || top.recognised) return null;
  if (!(await isWrongVolume(attempt, before))) {
    const message = 'Another filesystem was mounted at the leaf meanwhile, and it is not touched. Unmount it.';
    return refused(place, 'foreign', message, { helperOutput });
  }
  const message = 'The mount helper mounted another volume than the one that was asked for.';
  return (await takeAway(attempt, place.base, place.volume.leaf, top.entry))
    ? refused(place, 'helper-failed', `${message} It was undone. Look at the storage service.`, { helperOutput })
    : unknown(place, 'foreign', `${message} It could not be undone. Unmount it by hand.`, { helperOutput });
}

async function isDead({ context, place, deadline }: Attempt, mount: SeenMount): Promise<boolean> {
  const probing = context.prober.probe(place.target(mount.entry.dev), 'read-only');
  const facts = await within(context.machine.clock, probing, deadline.before(ANSWER_RESERVE_MS));
  return facts !== LATE && place.judge(facts, 'read-only').dead;
}

function failure({ context, place }: Attempt, ended: HelperEnd, helperOutput: string): StepEnd {
  switch (ended.end) {
    case 'not-started':
      return notStarted(context, place, ended);
    case 'late':
      return refused(
        place,
        'deadline-exceeded',
        'The mount helper did not end within its time and was ended. Look at the storage service, or allow more time (--timeout, mount_timeout).',
        { helperOutput },
      );
    case 'signalled':
    case 'exited': {
      if (succeeded(ended)) {
        const message =
          'The mount helper reported success and nothing was mounted in time. Look at the storage service.';
        return refused(place, 'deadline-exceeded', message, { helperOutput });
      }
      const { code, message } = place.explainFailure({
        status: ended.end === 'exited' ? ended.status : null,
        signal: ended.end === 'signalled' ? ended.signal : null,
        output: ended.output,
      });
      return refused(place, code, message, { helperOutput });
    }
  }
}

/** What everybody may see of what the helper said. */
function outputOf({ context, place }: Attempt, ended: HelperEnd): string {
  return ended.end === 'not-started' ? '' : context.helperOutputs.keep(place, ended.output);
}

/**
 * Where the volume was mounted instead of the leaf, if a swapped leaf or base sent the helper astray. A new mount of the
 * volume elsewhere is the helper's only if the way to the leaf is not what it was, or belongs to somebody who can make it
 * so for a moment; otherwise it is a stranger's and is left alone.
 */
async function strayOf({ context, place, deadline }: Attempt, before: ReadonlySet<number>): Promise<MountEntry | null> {
  const sight = await look(context, place, deadline);
  if (sight.top !== undefined) return null;
  const onlyRoots = context.machine.directories.chain(place.base).every(({ uid }) => uid === 0);
  if (sight.directory === 'empty' && onlyRoots) return null;
  const strays = context.machine.table
    .below('/')
    .filter((entry) => !before.has(entry.mountId) && place.recognises(entry));
  return strays.length === 1 ? (strays[0] ?? null) : null;
}

/** Another volume of the same filesystem at the leaf, alone and new there: nobody but our helper puts it there. */
async function isWrongVolume({ context, place, deadline }: Attempt, before: ReadonlySet<number>): Promise<boolean> {
  const { mounts, top } = await look(context, place, deadline);
  if (top === undefined || top.recognised || mounts.length !== 1) return false;
  return !before.has(top.entry.mountId) && place.resembles(top.entry);
}

function parentAndName(path: string): readonly [directory: string, name: string] {
  const slash = path.lastIndexOf('/');
  return [slash === 0 ? '/' : path.slice(0, slash), path.slice(slash + 1)];
}

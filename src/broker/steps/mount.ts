// The `mount` step: a helper in a unit of its own, or a bind by handle; and then the mount table, which alone says what
// happened. Nothing of an earlier attempt acts when a new one begins, and nothing of a failed one acts when it ends, or
// the end is `unknown` with the code `stuck`.

import type { MountWay } from '../../backends/backend.js';
import { errorBody } from '../../core/errors.js';
import { ENDING_PATIENCE_MS, LOOK_LAST_MS } from '../../core/limits.js';
import type { StepEnd } from '../../core/steps.js';
import { type Deadline, LATE, within } from '../../core/deadline.js';
import {
  inDoubt,
  requireEmptyLeaf,
  requireInPlace,
  requireRecognised,
  requireSoundBase,
  requireSoundConfigFile,
} from '../policy.js';
import type { DirectoryIdentity, MountIdentity } from '../../sys/ports.js';
import { awaitClients, formerOf } from '../client-states.js';
import type { Context } from '../context.js';
import type { Place } from '../place.js';
import { makeQuiet } from '../quiet.js';
import { noProcess } from '../no-process.js';
import { doubtOf, look } from '../sight.js';
import { CHANGED, refused, UNCHANGED, unknown } from '../step-ends.js';
import { mountByHelper } from './mount-by-helper.js';
import type { Attempt, Executor } from './step.js';
import { takeAway } from './take-away.js';

/** Milliseconds kept back for looking and answering after everything else had its time. */
const ANSWER_RESERVE_MS = 100;

/** See the file's head. */
export const mount: Executor = async (attempt) => {
  const { context, place, deadline } = attempt;
  place.authorise();
  requireSoundBase(context, place);
  requireSoundConfigFile(context, place);
  requireRecognised(place, await look(context, place, deadline));
  if ((await makeQuiet(context, place, deadline)) === 'acting') {
    return refused(place, 'stuck', 'An earlier operation on this volume may still act. It is worked off; try again.');
  }
  await endingOver(context, place, deadline);
  // What was ended may have mounted in its last moment, and the base may have changed while we waited.
  requireSoundBase(context, place);
  const now = await look(context, place, deadline);
  const found = requireRecognised(place, now);
  if (found !== null) {
    context.unusedLeaves.drop(place);
    requireInPlace(place, found);
    return UNCHANGED;
  }
  requireEmptyLeaf(place, now.directory);
  const way = place.mountWay();
  const end = await (way.way === 'bind' ? bindNoted(attempt, way) : mountByHelper(attempt, way));
  if (end === CHANGED) context.unusedLeaves.drop(place);
  return end;
};

/**
 * A client whose superblock is gone may still write back what was written through it. A new mount waits for its end, so
 * that it shows what the old one has written; but not for ever. A client that serves somebody is no reason to wait.
 */
async function endingOver(context: Context, place: Place, deadline: Deadline): Promise<void> {
  if (context.clients.of(place).length === 0) return;
  const patience = Math.min(ENDING_PATIENCE_MS, deadline.remaining / 2);
  await awaitClients(context, place, deadline, patience, (states) =>
    formerOf(states).every(({ state }) => state !== 'ending'),
  );
}

type BindWay = Extract<MountWay, { way: 'bind' }>;

/** Finds out which directory it is, and writes that down, before it is bound. */
async function bindNoted(attempt: Attempt, way: BindWay): Promise<StepEnd> {
  const { context, place, deadline } = attempt;
  const site = { source: way.source, roots: way.roots, base: place.base, leaf: place.volume.leaf };
  const identifying = context.prober.identify(place.target('none'), site);
  const identified = await within(context.machine.clock, identifying, deadline.before(ANSWER_RESERVE_MS));
  if (identified === LATE) {
    return refused(place, 'deadline-exceeded', 'There was no time left to mount the volume. Try again.');
  }
  const doubt = doubtOf(place, identified);
  if (doubt !== null) throw inDoubt(place, doubt);
  const source = identified.end === 'answered' ? identified.source : null;
  if (source !== null) context.bound.begin(place, source);
  return bind(attempt, way, source);
}

async function bind(attempt: Attempt, way: BindWay, expected: DirectoryIdentity | null): Promise<StepEnd> {
  const { context, place, deadline, begin } = attempt;
  const { machine, prober } = context;
  const budgetMs = Math.min(place.settings.probeTimeoutMs, deadline.before(ANSWER_RESERVE_MS));
  if (budgetMs < LOOK_LAST_MS) {
    return refused(place, 'deadline-exceeded', 'There was no time left to mount the volume. Try again.');
  }
  begin();
  context.reach('broker.mount.starting');
  const working = prober.acts.bind({
    source: way.source,
    expected,
    roots: way.roots,
    base: place.base,
    leaf: place.volume.leaf,
    hardening: place.settings.hardening,
  });
  const ended = await within(machine.clock, working, budgetMs);
  if (ended === LATE) {
    const message = 'The directory that the volume names does not answer, and may still be mounted. It is worked off.';
    return unknown(place, 'hung', message);
  }
  switch (ended.end) {
    case 'bound':
      if (expected !== null) noteBind(attempt, expected, ended);
      break;
    case 'source-changed':
      return refused(place, 'unavailable', 'The directory was exchanged while it was mounted. Try again.');
    case 'exhausted':
      return refused(
        place,
        'resource-exhausted',
        ended.why === 'not-started' ? noProcess(machine) : 'Too many mounts hang. Look at the storage, then try again.',
      );
    case 'lost':
      return nothingMounted(attempt)
        ? refused(place, 'unavailable', 'The process that mounts ended unexpectedly. Try again.')
        : unknown(place, 'unavailable', 'The process that mounts ended before it said what it had done.');
    case 'failed': {
      const message = `The directory that the volume names answers ${ended.errno}. Look at the storage it lies on.`;
      return nothingMounted(attempt) ? refused(place, 'unhealthy', message) : unknown(place, 'unhealthy', message);
    }
    case 'source-absent':
      return refused(place, 'not-found', 'The directory that the volume names does not exist.', { field: 'volume' });
    case 'source-not-a-directory':
      return refused(place, 'not-found', 'What the volume names is not a directory.', { field: 'volume' });
    case 'source-link':
      return refused(
        place,
        'permission-denied',
        'A symbolic link lies on the way to the directory; name the real one.',
        {
          field: 'volume',
        },
      );
    case 'source-outside':
      return refused(place, 'permission-denied', 'The directory is not below one of backend.local.roots.', {
        field: 'volume',
      });
    case 'leaf-changed':
      return refused(place, 'foreign', 'The leaf changed while the volume was mounted. Find out who changed it.');
  }
  const { top, doubt } = await look(context, place, deadline);
  if (doubt !== null) return { end: 'unknown', error: errorBody(inDoubt(place, doubt)) };
  if (top?.recognised === true && !top.isOutOfPlace) {
    context.reach('broker.mount.done');
    return CHANGED;
  }
  if (top === undefined) return refused(place, 'unavailable', 'The mount vanished as soon as it was made. Try again.');
  const gone = await takeAway(attempt, place.base, place.volume.leaf, top.entry);
  const message = 'The directory was exchanged while it was mounted. Find out who did, then try again.';
  return gone ? refused(place, 'foreign', message) : unknown(place, 'foreign', message);
}

/** Takes down which mount the bind is. One that is gone from the leaf already is looked for by what nobody has seen. */
function noteBind(
  { context, place }: Attempt,
  directory: DirectoryIdentity,
  { mountId, unique }: Pick<MountIdentity, 'mountId' | 'unique'>,
): void {
  const entry = context.machine.table.at(place.mountpoint).find((one) => one.mountId === mountId);
  if (entry !== undefined) context.bound.learn(place, directory, { mountId, dev: entry.dev, unique });
}

function nothingMounted({ context, place }: Attempt): boolean {
  return context.machine.table.at(place.mountpoint).length === 0;
}

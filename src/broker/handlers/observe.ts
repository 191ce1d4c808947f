// `observe`: the facts of one leaf, and what a fresh probe says of the volume that is mounted there and of one disk in it.

import { FairleadError } from '../../core/errors.js';
import { type DiskName, parseDiskName } from '../../core/names.js';
import type { DiskSight, FormerClient, UnitState } from '../../core/observation.js';
import { obstructionAt } from '../../core/obstruction.js';
import type { Access, Judgement } from '../../core/verdict.js';
import type { Context } from '../context.js';
import { type Deadline, LATE, within } from '../../core/deadline.js';
import { type Place, placeOf } from '../place.js';
import { adoptUnits, clientsOf, formerOf, noteMounts, unitOf } from '../client-states.js';
import { describeMounts, formerBinds, look, OUT_OF_PLACE, type Sight, stillOnTop } from '../sight.js';
import type { Handler } from './handler.js';

const NOT_MOUNTED = 'The volume is not mounted.';

/** Looks again this many times when the mount changed under the probe. */
const LOOKS = 3;

/** See the file's head. */
export const observe: Handler<'observe'> = async ({ context, deadline }, request) => {
  const place = placeOf(context, request.volume);
  // Both may take a moment, and neither waits for the other. A failure is thrown when it is this one's turn.
  const asking = clientsBeside(context, place, deadline);
  asking.catch(() => undefined);
  const name = request.disk === undefined ? null : parseDiskName(request.disk, 'disk');
  if (name !== null) place.authorise();
  const { sight, judgement, disk } = await seeAndJudge(context, place, request.probe, name, deadline);
  const clients = await asking;
  if (clients === null) throw late(place);
  const former = [...clients.former, ...formerBinds(sight.outOfSight)];
  return {
    leaf: place.volume.leaf,
    mountpoint: place.mountpoint,
    directory: sight.directory,
    mounts: describeMounts(sight.mounts, place.settings),
    mayHideOurs: sight.mayHideOurs,
    unit: clients.unit,
    former,
    ...(judgement === null ? {} : { judgement: isAway(former, judgement) ? AWAY : judgement }),
    ...(disk === null ? {} : { disk }),
  };
};

/** Said of a volume that is not at its leaf while a mount of it may be somewhere else. */
const AWAY: Judgement = {
  verdict: 'absent',
  reason:
    'The volume is not mounted at its leaf. A mount of it may live on elsewhere: it was moved or copied, open files keep it, or the mount base was covered or renamed.',
  dead: false,
};

function isAway(former: readonly FormerClient[], { verdict, reason }: Judgement): boolean {
  return verdict === 'absent' && reason === NOT_MOUNTED && former.some(({ state }) => state === 'serving');
}

/** What is seen of a leaf's clients. */
interface SeenClients {
  readonly unit: UnitState;
  readonly former: FormerClient[];
}

/**
 * The leaf's clients. Those who keep the units are not asked again while the leaf has one client, and the mount that it was
 * seen with is there: nothing can have come of it but its end, and that is seen at the mount.
 */
async function clientsBeside(context: Context, place: Place, deadline: Deadline): Promise<SeenClients | null> {
  await adoptUnits(context, deadline);
  const { machine, unitsSeen } = context;
  const before = machine.table.at(place.mountpoint);
  if (before.length > 0) noteMounts(context, place);
  const count = context.clients.of(place).length;
  if (count === 0) return { unit: 'idle', former: [] };
  const top = before.at(-1);
  const known = count === 1 ? unitsSeen.recall(place.mountpoint, top) : null;
  if (known !== null) return { unit: known, former: [] };
  const { moment } = unitsSeen;
  const states = await clientsOf(context, place, deadline);
  if (states === null) return null;
  const seen = { unit: unitOf(states), former: formerOf(states) };
  const after = machine.table.at(place.mountpoint).at(-1);
  const same = top !== undefined && top.mountId === after?.mountId && top.dev === after.dev;
  const isSteady = same && states.length === 1 && states[0]?.isHere === true;
  unitsSeen.learn(place.mountpoint, isSteady ? after : undefined, seen.unit, moment);
  return seen;
}

interface Judged {
  readonly sight: Sight;
  readonly judgement: Judgement | null;
  readonly disk: DiskSight | null;
}

async function seeAndJudge(
  context: Context,
  place: Place,
  access: Access | null,
  name: DiskName | null,
  deadline: Deadline,
): Promise<Judged> {
  for (let looks = 1; ; looks += 1) {
    const sight = await look(context, place, deadline);
    const { top, doubt } = sight;
    const unprobed = (judgement: Judgement | null): Judged => ({ sight, judgement, disk: null });
    // Said even where nobody asked for a probe: what is seen is not certain.
    if (doubt !== null) return unprobed(doubt);
    if (top?.isOutOfPlace === true) return unprobed(OUT_OF_PLACE);
    if (access === null) return unprobed(null);
    if (top === undefined) {
      const reason = obstructionAt(sight.directory) ?? NOT_MOUNTED;
      return unprobed({ verdict: 'absent', reason, dead: false });
    }
    if (!top.recognised) {
      const reason = 'Another filesystem is mounted at the leaf of this volume.';
      return unprobed({ verdict: 'foreign', reason, dead: false });
    }
    const probing = context.prober.probeWith(place.target(top.entry.dev), access, name);
    const probed = await within(context.machine.clock, probing, deadline.remaining);
    if (probed === LATE) throw late(place);
    if (stillOnTop(context, place, top)) {
      return { sight, judgement: place.judge(probed.facts, access), disk: probed.disk };
    }
    if (looks === LOOKS) {
      throw new FairleadError('unavailable', 'The mount changes while it is looked at. Try again.', {
        leaf: place.volume.leaf,
      });
    }
  }
}

function late(place: Place): FairleadError {
  const message = 'The time was up before the volume had been looked at. Try again with a later deadline.';
  return new FairleadError('deadline-exceeded', message, { leaf: place.volume.leaf });
}

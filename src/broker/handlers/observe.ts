// `observe`: the facts of one leaf, and what a fresh probe says of the volume that is mounted there and of one disk in it.

import { FairleadError } from '../../core/errors.js';
import { type DiskName, parseDiskName } from '../../core/names.js';
import type { DiskSight, UnitState } from '../../core/observation.js';
import type { Access, Judgement } from '../../core/verdict.js';
import type { Context } from '../context.js';
import { type Deadline, LATE, within } from '../../core/deadline.js';
import { type Place, placeOf } from '../place.js';
import { unitState } from '../quiet.js';
import { describeMounts, look, type Sight, stillOnTop } from '../sight.js';
import type { Handler } from './handler.js';

/** Looks again this many times when the mount changed under the probe. */
const LOOKS = 3;

/** See the file's head. */
export const observe: Handler<'observe'> = async ({ context, deadline }, request) => {
  const place = placeOf(context, request.volume);
  // Both may take a moment, and neither waits for the other. A failure is thrown when it is this one's turn.
  const asking = unitBeside(context, place, deadline);
  asking.catch(() => undefined);
  const name = request.disk === undefined ? null : parseDiskName(request.disk, 'disk');
  if (name !== null) place.authorise();
  const { sight, judgement, disk } = await seeAndJudge(context, place, request.probe, name, deadline);
  const unit = await asking;
  if (unit === null) throw late(place);
  return {
    leaf: place.volume.leaf,
    mountpoint: place.mountpoint,
    directory: sight.directory,
    mounts: describeMounts(sight.mounts, place.settings),
    unit,
    ...(judgement === null ? {} : { judgement }),
    ...(disk === null ? {} : { disk }),
  };
};

/** The state of the mount unit; not asked for again while the mount that it was seen with is there. */
async function unitBeside(context: Context, place: Place, deadline: Deadline): Promise<UnitState | null> {
  const { machine, unitsSeen } = context;
  const unit = place.mountUnit;
  const before = machine.table.at(place.mountpoint).at(-1);
  const known = unitsSeen.recall(unit, before);
  if (known !== null) return known;
  const { moment } = unitsSeen;
  const state = await unitState(context, unit, deadline);
  const after = machine.table.at(place.mountpoint).at(-1);
  const same = before !== undefined && before.mountId === after?.mountId && before.dev === after.dev;
  if (state !== null) unitsSeen.learn(unit, same ? after : undefined, state, moment);
  return state;
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
    if (access === null) return unprobed(null);
    if (top === undefined) return unprobed({ verdict: 'absent', reason: 'The volume is not mounted.', dead: false });
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

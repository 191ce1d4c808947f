// Making sure that nothing of ours acts on a leaf any more: helpers in its units, and an unmount or a bind in a child. Killing is
// not enough; it is over when the unit is empty and the child's call has ended.

import { DAEMON_GRACE_MS, KILL_GRACE_MS, LOOK_FIRST_MS, LOOK_LAST_MS } from '../core/limits.js';
import type { UnitState } from '../core/observation.js';
import type { Context } from './context.js';
import { type Deadline, LATE, until, within } from '../core/deadline.js';
import { holdersInDoubt } from './holders.js';
import type { Place } from './place.js';
import { look } from './sight.js';

/**
 * Ends whatever acts on the leaf, unless the right mount is there already: then its unit is left alone, since the
 * filesystem's daemon lives in it. A daemon that serves a copy in another namespace is spared too, if `daemons` says so.
 * `acting`: something may still act. Throws `unavailable` when units cannot be asked.
 */
export async function makeQuiet(
  context: Context,
  place: Place,
  deadline: Deadline,
  daemons: 'end-all' | 'spare-copies',
): Promise<'quiet' | 'acting'> {
  const { prober, leftServing } = context;
  if (!(await prober.acts.end(place.mountpoint, deadline.atMost(KILL_GRACE_MS)))) return 'acting';
  // No helper takes part in a bind, and the directory need not be asked what its mount is.
  if (place.identifiedBy !== null) return 'quiet';
  if (!(await empty(context, place.unmountUnit, deadline))) return 'acting';
  // Covered by somebody else's mount it is still ours, and its daemon lives in the unit.
  const { mounts } = await look(context, place, deadline);
  if (mounts.some(({ recognised }) => recognised)) return helperOver(context, place, deadline);
  if (daemons === 'spare-copies' && leftServing.has(place.mountUnit)) return 'quiet';
  if (!(await empty(context, place.mountUnit, deadline))) return 'acting';
  leftServing.delete(place.mountUnit);
  return 'quiet';
}

/**
 * The volume is mounted. A helper that is still at work is waited for, and not killed: its unit holds the daemon. Until
 * it ends, the mount must not be promised to anybody: when its time is up, systemd ends the whole unit.
 */
async function helperOver(context: Context, place: Place, deadline: Deadline): Promise<'quiet' | 'acting'> {
  const over = async (): Promise<true | null> =>
    (await unitState(context, place.mountUnit, deadline)) === 'starting' ? null : true;
  const patience = deadline.before(KILL_GRACE_MS);
  const end = await until(context.machine.clock, patience, { first: LOOK_FIRST_MS, last: LOOK_LAST_MS }, over);
  return end === true ? 'quiet' : 'acting';
}

/** State of a unit, or null if there was no answer in time. */
export async function unitState(context: Context, unit: string, deadline: Deadline): Promise<UnitState | null> {
  const { machine } = context;
  const state = await within(machine.clock, machine.units.state(unit), deadline.remaining);
  return state === LATE ? null : state;
}

/** Kills what is in the unit; true when it is empty. */
export async function empty(context: Context, unit: string, deadline: Deadline): Promise<boolean> {
  const state = await unitState(context, unit, deadline);
  if (state === 'idle') return true;
  if (state === null) return false;
  return kill(context, unit, deadline);
}

/** Kills the unit without asking first whether there is one. */
export async function kill(context: Context, unit: string, deadline: Deadline): Promise<boolean> {
  const { machine } = context;
  const grace = deadline.atMost(KILL_GRACE_MS);
  const end = await within(machine.clock, machine.units.kill(unit, grace), deadline.remaining);
  return end === 'gone';
}

/**
 * After an unmount: a FUSE filesystem's daemon ends by itself when its last mount is gone. What does not is killed, so
 * that no process leaks; but not while a copy of the mount lives on in another namespace, which it still serves.
 */
export async function endDaemon(context: Context, place: Place, dev: string, deadline: Deadline): Promise<void> {
  const { machine, log, leftServing } = context;
  const { leaf } = place.volume;
  const ended = async (): Promise<true | null> =>
    (await unitState(context, place.mountUnit, deadline)) === 'idle' ? true : null;
  const grace = Math.min(DAEMON_GRACE_MS, deadline.before(2 * KILL_GRACE_MS));
  if ((await until(machine.clock, grace, { first: LOOK_FIRST_MS, last: LOOK_LAST_MS }, ended)) === true) return;
  const ms = deadline.before(KILL_GRACE_MS);
  const found = await within(machine.clock, holdersInDoubt(context, place, [{ dev, root: '/' }], ms), ms);
  if (found === LATE || !found.complete || found.holders.length > 0) {
    leftServing.add(place.mountUnit);
    const why = found === LATE || !found.complete ? 'no time to look for copies' : 'a copy lives on';
    log.warn('daemon-left', { leaf, why });
    return;
  }
  if (!(await kill(context, place.mountUnit, deadline))) log.warn('daemon-left', { leaf, why: 'it cannot be killed' });
}

// Making sure that nothing of ours acts on a leaf any more: an unmount or a bind in a child, and helpers in their units.
// Ending is not enough; it is over when the unit is empty and the child's call has ended. No client is ended here.

import { KILL_GRACE_MS } from '../core/limits.js';
import type { Context } from './context.js';
import { awaitClients, clientsOf, type ClientState, endHelper, isHelper } from './client-states.js';
import { type Deadline, LATE, within } from '../core/deadline.js';
import type { Place } from './place.js';
import { look } from './sight.js';

/**
 * Sees to it that nothing acts on the leaf. A helper is ended, unless the right mount is there already, or something may
 * be served by it: then it is waited for, as long as it was given. `acting`: something may still act. Throws
 * `unavailable` when units cannot be asked.
 */
export async function makeQuiet(context: Context, place: Place, deadline: Deadline): Promise<'quiet' | 'acting'> {
  if (!(await context.prober.acts.end(place.mountpoint, deadline.atMost(KILL_GRACE_MS)))) return 'acting';
  // No helper takes part in a bind, and the directory need not be asked what its mount is.
  if (place.identifiedBy !== null) return 'quiet';
  if (!(await empty(context, place.unmountUnit, deadline))) return 'acting';
  // Covered by somebody else's mount it is still ours, and its client lives in the unit.
  const { mounts } = await look(context, place, deadline);
  return mounts.some(({ recognised }) => recognised)
    ? helpersOver(context, place, deadline)
    : endHelpers(context, place, deadline);
}

/** The volume is mounted, so whatever its helper still does may be its client: it is waited for, and never ended. */
export async function helpersOver(context: Context, place: Place, deadline: Deadline): Promise<'quiet' | 'acting'> {
  const noneAtWork = (states: readonly ClientState[]): boolean => !states.some(({ unit }) => unit === 'starting');
  const states = await awaitClients(context, place, deadline, deadline.before(KILL_GRACE_MS), noneAtWork);
  if (states === null) return 'acting';
  return giveUpLate(
    context,
    place,
    states.filter(({ unit }) => unit === 'starting'),
  )
    ? 'quiet'
    : 'acting';
}

async function endHelpers(context: Context, place: Place, deadline: Deadline): Promise<'quiet' | 'acting'> {
  const states = await clientsOf(context, place, deadline);
  if (states === null) return 'acting';
  const held: ClientState[] = [];
  for (const state of states.filter(isHelper)) {
    const end = await endHelper(context, place, state, deadline);
    if (end === 'alive') return 'acting';
    if (end === 'held') held.push(state);
  }
  return giveUpLate(context, place, held) ? 'quiet' : 'acting';
}

/** Waits no more for helpers whose time is up: they stay, like clients that serve. False if one has time left. */
function giveUpLate({ machine, clients, log }: Context, place: Place, helpers: readonly ClientState[]): boolean {
  const now = machine.uptime();
  if (helpers.some(({ client }) => now <= client.begun + client.budgetMs)) return false;
  for (const { client } of helpers) {
    clients.learn(place, client.id, { isOver: true });
    log.warn('helper-left', { leaf: place.volume.leaf, why: 'its time is up, and it may serve a mount' });
  }
  return true;
}

/** Kills what is in a unit in which no client can be; true when it is empty. */
export async function empty(context: Context, unit: string, deadline: Deadline): Promise<boolean> {
  const { machine } = context;
  const state = await within(machine.clock, machine.units.state(unit), deadline.remaining);
  if (state === 'idle') return true;
  if (state === LATE) return false;
  const killing = machine.units.kill(unit, deadline.atMost(KILL_GRACE_MS));
  return (await within(machine.clock, killing, deadline.remaining)) === 'gone';
}

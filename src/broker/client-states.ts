// What is true of a leaf's clients now, and what may be done to them. A client that serves is never ended by us: the only
// proof that nothing is served any more is the kernel's, that the superblock is gone. Wherever that is not certain the
// client stays. A client whose superblock is gone ends by itself, in its own time. What may be ended is a helper, or what
// it left behind, of which no superblock can be.

import { FairleadError } from '../core/errors.js';
import type { FormerClient, UnitState } from '../core/observation.js';
import { KILL_GRACE_MS, LOOK_FIRST_MS, LOOK_LAST_MS } from '../core/limits.js';
import { type Deadline, LATE, until, within } from '../core/deadline.js';
import { BACKEND_NAMES, type Volume } from '../core/volume.js';
import type { Superblock } from '../sys/ports.js';
import type { Client } from './clients.js';
import type { Context } from './context.js';
import type { Place } from './place.js';
import { isSame, possibleOf, possibleSince } from './possible-superblocks.js';
import { unitName, unitPrefix } from './unit-names.js';

/** A leaf, as far as its clients are concerned. */
export type ClientSite = Pick<Place, 'base' | 'mountpoint' | 'recognises' | 'mayBeIts' | 'identifiedBy'> & {
  readonly volume: Pick<Volume, 'leaf'>;
};

/** One client, as it is now. */
export interface ClientState {
  readonly client: Client;
  /** Its mount is in the stack at the leaf. */
  readonly isHere: boolean;
  /** `unknown`: nobody can tell, so it counts as there. */
  readonly superblock: 'exists' | 'gone' | 'unknown';
  readonly unit: UnitState;
}

/**
 * Takes in the units that an earlier process left without a note, or with one that was lost. Done once, before anything is
 * said or done about clients. Throws `deadline-exceeded`, and what {@link Units.list} throws; then it is done again.
 */
export async function adoptUnits(context: Context, deadline: Deadline): Promise<void> {
  const { machine, settings, clients, unitsKnown } = context;
  if (unitsKnown.done) return;
  for (const name of BACKEND_NAMES) {
    const base = settings.backends[name].mountBase;
    const listing = machine.units.list(unitPrefix('mount', base));
    const units = await within(machine.clock, listing, deadline.remaining);
    if (units === LATE) throw new FairleadError('deadline-exceeded', 'The units were not listed in time. Try again.');
    clients.adopt(base, units, { begun: machine.uptime(), budgetMs: settings.backends[name].mountTimeoutMs });
  }
  unitsKnown.done = true;
}

/** The clients of a leaf; null if those who keep the units did not answer in time. What is no more is forgotten. */
export async function clientsOf(
  context: Context,
  place: ClientSite,
  deadline: Deadline,
): Promise<readonly ClientState[] | null> {
  if (context.clients.of(place).length > 0) noteMounts(context, place);
  const states: ClientState[] = [];
  for (const client of context.clients.of(place)) {
    const state = await stateOf(context, place, client, deadline);
    if (state === null) return null;
    if (isNoMore(context, state)) context.clients.drop(place, client.id);
    else states.push(state);
  }
  return states;
}

/** The clients whose mounts are not at the leaf any more. One whose helper may still mount is not among them. */
export function formerOf(states: readonly ClientState[]): FormerClient[] {
  return states.flatMap(({ isHere, superblock, unit }): FormerClient[] => {
    if (isHere || (unit === 'starting' && superblock === 'gone')) return [];
    if (superblock !== 'gone') return [{ state: 'serving' }];
    return unit === 'idle' ? [] : [{ state: 'ending' }];
  });
}

/** The state of the leaf's unit, all of its clients taken together. */
export function unitOf(states: readonly ClientState[]): UnitState {
  if (states.some(({ unit }) => unit === 'starting')) return 'starting';
  return states.some(({ isHere, unit }) => isHere && unit === 'serving') ? 'serving' : 'idle';
}

async function stateOf(
  context: Context,
  place: ClientSite,
  client: Client,
  deadline: Deadline,
): Promise<ClientState | null> {
  const superblock = superblockOf(context, place, client);
  if (superblock !== 'gone') context.clients.doubt(place, client.id);
  const entries = context.machine.table.at(place.mountpoint);
  const isHere = superblock !== 'gone' && entries.some(({ dev }) => dev === client.superblock?.dev);
  const unit = await unitStateOf(context, place, client, isHere, deadline);
  if (unit === null) return null;
  // Its helper has ended, nothing is left of it, and nobody has ever seen a mount of it.
  const neverWas = client.superblock === null && unit === 'idle';
  return { client, isHere, superblock: neverWas ? 'gone' : superblock, unit };
}

/**
 * Nothing of it is left, and nothing can come of it any more. That its unit is empty does not prove it: a client may live
 * outside of its unit.
 */
function isNoMore({ machine }: Context, { client, superblock, unit }: ClientState): boolean {
  return superblock === 'gone' && unit === 'idle' && isOver(machine, client);
}

function isOver(machine: Context['machine'], client: Client): boolean {
  if (client.isOver || machine.uptime() > client.begun + client.budgetMs) return true;
  return client.helper !== null && !machine.processes.runs(client.helper);
}

async function unitStateOf(
  context: Context,
  place: ClientSite,
  client: Client,
  isHere: boolean,
  deadline: Deadline,
): Promise<UnitState | null> {
  if (client.generation === null) return 'idle';
  const { machine } = context;
  const unit = unitName('mount', place.base, place.volume.leaf, client.generation);
  const seen = await within(machine.clock, machine.units.state(unit), deadline.remaining);
  if (seen === LATE) return null;
  if (seen === 'idle') return (await mayYetBegin(context, client)) ? 'starting' : 'idle';
  if (seen === 'serving') return seen;
  if (client.isOver) return 'serving';
  if (seen === 'starting') return seen;
  if (client.helper !== null) return machine.processes.runs(client.helper) ? 'starting' : 'serving';
  // The broker that started it died before it had learnt which process that was.
  return isHere || isFound(client) || isOver(machine, client) ? 'serving' : 'starting';
}

/**
 * Whether a unit that is not there may still be made for the client: what was asked of systemd is done when systemd comes to
 * it, whatever became of who asked. What a broker starts itself is never started after its death.
 */
async function mayYetBegin({ machine }: Context, client: Client): Promise<boolean> {
  if (isFound(client) || isOver(machine, client)) return false;
  return client.helper !== null || (await machine.units.way()) !== 'session';
}

/** Nothing was written of it before it began. */
function isFound({ earlier, superblock }: Client): boolean {
  return earlier === null && superblock === null;
}

/** Whether the superblock that the client serves is there, by the kernel's own record. */
function superblockOf(context: Context, place: ClientSite, client: Client): 'exists' | 'gone' | 'unknown' {
  if (client.isDead) return 'gone';
  const known = client.superblock;
  if (known !== null) {
    const now = context.machine.superblocks.at(known.dev);
    if (typeof now !== 'string' && isSame(known, now)) confirm(context, place, client, now);
    return compare(context, place, known, now);
  }
  return possibleSince(context, place, client.earlier)?.length === 0 ? 'gone' : 'unknown';
}

/** In another record it has the same entry: so it can be compared with what comes later in this one. */
function confirm({ clients }: Context, place: ClientSite, { id, superblock }: Client, now: Superblock): void {
  if (superblock?.record !== now.record) clients.learn(place, id, { superblock: now });
}

function compare(
  context: Context,
  place: ClientSite,
  known: Superblock,
  now: Superblock | 'none' | 'unknown',
): 'exists' | 'gone' | 'unknown' {
  if (now === 'none') return 'gone';
  if (now === 'unknown') return 'unknown';
  if (isSame(known, now)) return 'exists';
  // In another record all may have other entries: whose number it is now, its mounts may tell.
  return known.record !== now.record && possibleOf(context, place, [now]).length > 0 ? 'unknown' : 'gone';
}

/** The numbers of the superblocks that clients of this leaf serve, wherever they are mounted. */
export function superblocksOf(context: Context, place: ClientSite): readonly string[] {
  return context.clients
    .of(place)
    .flatMap((client) =>
      client.superblock !== null && superblockOf(context, place, client) === 'exists' ? [client.superblock.dev] : [],
    );
}

/** Takes down whose superblocks are mounted at the leaf as the volume. */
export function noteMounts(context: Context, place: ClientSite): void {
  for (const entry of context.machine.table.at(place.mountpoint)) {
    if (place.recognises(entry)) noteSuperblock(context, place, entry.dev);
  }
}

/**
 * Takes down whose superblock it is that is mounted at the leaf, so that it is known once its mount is not there any more.
 * Where that is not certain it is taken down by itself: a client that was given another's would count as gone with that.
 */
export function noteSuperblock(context: Context, place: ClientSite, dev: string): void {
  const { machine, clients } = context;
  if (place.identifiedBy !== null) return;
  const seen = machine.superblocks.at(dev);
  if (typeof seen === 'string') return;
  const known = clients.of(place);
  if (known.some(({ superblock }) => superblock !== null && isSame(superblock, seen))) return;
  const owner = ownerOf(context, place, seen);
  if (owner === null) clients.find(place, { superblock: seen });
  else clients.learn(place, owner.id, { superblock: seen });
}

/** The client that alone this superblock can be of, if no other superblock can be that client's; null if that is not certain. */
function ownerOf(context: Context, place: ClientSite, seen: Superblock): Client | null {
  const known = context.clients.of(place);
  const [unseen, ...others] = known.filter(
    ({ superblock, earlier }) => superblock === null && !(earlier ?? []).some((one) => isSame(one, seen)),
  );
  if (unseen === undefined) {
    // In another record it may have another entry. If it is gone, and its number is another's by now, nothing is lost.
    return known.find(({ superblock }) => superblock?.dev === seen.dev && superblock.record !== seen.record) ?? null;
  }
  if (others.length > 0 || unseen.earlier === null) return null;
  return possibleSince(context, place, [...unseen.earlier, seen])?.length === 0 ? unseen : null;
}

/** Takes down that what was mounted at the leaf is proven dead. */
export function noteDeath({ clients }: Context, place: ClientSite, dev: string): void {
  for (const { id, superblock } of clients.of(place)) {
    if (superblock?.dev === dev) clients.learn(place, id, { isDead: true });
  }
}

/**
 * Ends a helper, or what it left behind, if no superblock can be or was of it: what it left may be a client that writes back
 * otherwise. `held`: that is not certain, so it stays. `alive`: it could not be ended in time.
 */
export async function endHelper(
  context: Context,
  place: ClientSite,
  { client, superblock }: ClientState,
  deadline: Deadline,
): Promise<'gone' | 'held' | 'alive'> {
  const { machine, clients } = context;
  if (client.generation === null || !clients.neverServed(place, client.id)) return 'held';
  if (superblock !== 'gone' || superblockOf(context, place, client) !== 'gone') return 'held';
  const unit = unitName('mount', place.base, place.volume.leaf, client.generation);
  const killing = machine.units.kill(unit, deadline.atMost(KILL_GRACE_MS));
  if ((await within(machine.clock, killing, deadline.remaining)) !== 'gone') return 'alive';
  clients.learn(place, client.id, { isOver: true });
  return 'gone';
}

/** Whether this is a helper at work, or something that a helper left behind and that never had a mount. */
export function isHelper({ client, unit, superblock }: ClientState): boolean {
  return unit === 'starting' || (unit !== 'idle' && client.superblock === null && superblock === 'gone');
}

/** Waits until `isDone` of the leaf's clients, at most `ms`; answers how they were last seen. */
export async function awaitClients(
  context: Context,
  place: ClientSite,
  deadline: Deadline,
  ms: number,
  isDone: (states: readonly ClientState[]) => boolean,
): Promise<readonly ClientState[] | null> {
  let last: readonly ClientState[] | null = null;
  await until(context.machine.clock, ms, { first: LOOK_FIRST_MS, last: LOOK_LAST_MS }, async () => {
    last = await clientsOf(context, place, deadline);
    return last === null || !isDone(last) ? null : true;
  });
  return last;
}

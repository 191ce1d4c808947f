// Judges what Fairlead says of itself against what clients were told (I2 never lost, I8 once), and, when all is quiet,
// what is left in the world against both (I3 never leaked).

import { userOf } from '../../src/core/names.js';
import type { ListReply } from '../../src/core/requests.js';
import type { LedgerSnapshot } from '../../src/core/records.js';
import type { Domains } from './domains.js';
import type { Fail } from './effects.js';
import type { History, Moment } from './history.js';
import { short } from './kernel.js';
import type { Host } from './machine.js';
import { isTaken } from './replies.js';
import type { Truth } from './truth.js';
import type { Superblock } from './superblocks.js';
import type { Unit } from './units.js';

/** I2 and I8: every acknowledged attachment is listed, once; every ended one is not. */
export function judgeList(list: ListReply, truth: Truth, fail: Fail): void {
  const listed = new Set<string>();
  for (const mount of list.mounts) {
    for (const { consumer, disk } of mount.attachments) {
      const key = `${userOf(consumer)} ${mount.leaf} ${disk ?? ''}`;
      if (listed.has(key)) fail('I8', `${key} is attached twice`);
      listed.add(key);
    }
  }
  for (const key of truth.keys) {
    switch (truth.certainty(key)) {
      case 'live':
        if (!listed.has(key)) fail('I2', `${key} was acknowledged and is not listed`);
        break;
      case 'ended':
        if (listed.has(key)) fail('I6', `${key} was answered as ended and is listed`);
        break;
      case 'unknown':
        break;
    }
  }
}

/** Milliseconds after which what `ls` shows of clients must have been looked at again. */
const FORMER_MS = 90_000;

/** I6: the clients of earlier mounts that are shown are there, or were a moment ago. */
export function judgeFormer(
  list: ListReply,
  histories: readonly History[],
  isDoubtful: (history: History | undefined) => boolean,
  fail: Fail,
): void {
  for (const { leaf, former } of list.mounts) {
    if (former.length === 0) continue;
    const history = histories.find(({ volume }) => volume.leaf === leaf);
    for (const { state } of former) {
      // A helper that was given up may mount after all: nobody looks at its unit again.
      const was = (moment: Moment): boolean =>
        state === 'releasing' ? moment.existing : moment.ending || history?.processes().serve === true;
      if (history?.within(FORMER_MS, was) === true || (state === 'releasing' && isDoubtful(history))) continue;
      fail('I6', `a client of ${leaf.slice(0, 6)} is shown as ${state}, which it was not for long`);
    }
  }
}

/** I6: who is called an orphan is one, and nobody knew better. */
export function judgeOrphans(list: ListReply, domains: Pick<Domains, 'orphanhoodOf'>, fail: Fail): void {
  for (const { leaf, attachments } of list.mounts) {
    for (const { consumer, disk, orphan } of attachments) {
      if (orphan === null) continue;
      const key = `${userOf(consumer)} ${leaf} ${disk ?? ''}`;
      const proven = domains.orphanhoodOf(key);
      if (proven !== orphan) fail('I6', `${key} is called an orphan (${orphan}) and is ${proven ?? 'none'}`);
    }
  }
}

/**
 * I3 in a healed and quiet world: everything that is there has somebody who needs it. `isDoubtful`: once in this boot it
 * could not be told what a superblock is, so what is over may still be shown, and a helper that was given up may have
 * mounted a second time.
 */
export function judgeQuiet(
  list: ListReply,
  truth: Truth,
  host: Host,
  histories: readonly History[],
  isDoubtful: (history: History, since: 'ever' | 'now') => boolean,
  fail: Fail,
): void {
  const { kernel, services } = host;
  if (list.state !== 'ready') fail('I3', 'the reconciliation has not ended');
  for (const history of histories) {
    const { mountPoint, volume } = history;
    const listed = list.mounts.find((mount) => mount.leaf === volume.leaf);
    const needed = listed !== undefined && (listed.attachments.length > 0 || listed.hold !== null);
    const stack = kernel.at(mountPoint);
    const where = short(mountPoint);
    if (listed !== undefined && listed.operation !== null)
      fail('I3', `${where} still has an open operation: ${JSON.stringify(listed.operation)}`);
    if (stack.length > 0 && listed === undefined) fail('I3', `what is mounted on ${where} is not shown`);
    const isUsed = history.now.existing || history.now.ending || isDoubtful(history, 'now');
    if (listed?.state === 'releasing' && !isUsed) fail('I3', `${where} is still releasing`);
    const ours = stack.filter((mount) => mount.maker === 'fairlead').length;
    if (ours > 1 && !isDoubtful(history, 'ever')) fail('I3', `${where} has ${ours} mounts of ours on it`);
    if (!needed && listed?.state !== 'foreign' && ours > 0 && !isUntold(history, truth, host)) {
      fail('I3', `${where} is mounted for nobody`);
    }
    if (!needed && stack.length === 0 && !isUsed && isLeaked(host, truth, history)) {
      fail('I3', `${where} is left as a directory`);
    }
    if (!needed && stack.length === 0 && !isUsed && listed !== undefined && listed.state !== 'foreign')
      fail('I3', `${where} is listed (${listed.state}) for nobody`);
  }
  for (const unit of services.units.values()) judgeUnit(unit, list, host, histories, isDoubtful, fail);
  if (host.probes.stuck > 0) fail('I3', `${host.probes.stuck} probe children are stuck in a healthy world`);
}

/** A bind whose directory is not the one that the volume names is told by notes alone: without them it is foreign, and stays. */
function isUntold({ now }: History, truth: Truth, { notes }: Host): boolean {
  return now.top === 'former' && (truth.recordsLost || !notes.isWhole);
}

/** I3 of one unit at rest: what runs in it has a mount that somebody needs, or is shown. */
function judgeUnit(
  unit: Unit,
  list: ListReply,
  { kernel, services }: Host,
  histories: readonly History[],
  isDoubtful: (history: History, since: 'ever' | 'now') => boolean,
  fail: Fail,
): void {
  const history = histories.find(({ mountPoint }) => mountPoint === unit.mountPoint);
  const listed = list.mounts.find(({ leaf }) => leaf === history?.volume.leaf);
  const where = short(unit.mountPoint);
  const serves = services.serves(unit);
  const mounts = kernel.at(unit.mountPoint).map(({ superblock }) => superblock);
  const isHere = [...unit.processes].some(({ superblock }) => superblock !== null && mounts.includes(superblock));
  if (serves && isHere) return;
  if (listed === undefined) {
    fail('I3', `a unit of ${where} is there for nobody, and is not shown`);
    return;
  }
  const shown = [...listed.former.map(({ state }) => state), listed.state];
  const as = serves ? 'releasing' : 'ending';
  if (shown.includes(as)) return;
  // A helper that hangs may have made any mount of this volume that came after it began.
  const mayHaveMade = (one: Superblock): boolean =>
    [...unit.processes].some(({ role, began }) => role === 'helper' && began <= one.bornAt);
  const isDoubted = history !== undefined && (isDoubtful(history, 'now') || [...history.superblocks].some(mayHaveMade));
  if (!isDoubted || !shown.includes('releasing'))
    fail('I3', `what is ${as} of ${where} is not shown: ${shown.join(' ')}`);
}

/** Seconds after which a verdict of a mount in use must have been renewed: two of the health monitor's intervals. */
const FRESH_S = 30;

/**
 * I5 in a healed and quiet world, before anybody has asked for anything: every mount in use is well, and known to be, from a
 * fresh look. One whose directory was removed for good stays for its users as it is, and is shown so.
 */
export function judgeWatched(list: ListReply, truth: Truth, histories: readonly History[], fail: Fail): void {
  for (const { volume, mountPoint, now } of histories) {
    const live = truth.keysOf(volume).some((key) => truth.certainty(key) === 'live');
    if (live && now.top !== 'former' && (now.top !== 'right' || now.server !== 'answering'))
      fail('I2', `${short(mountPoint)} has users, is ${now.top}, ${now.server}, and nobody brings it back`);
  }
  for (const { leaf, verdict, verdictAge, attachments, needsRestart } of list.mounts) {
    if (attachments.length === 0) continue;
    const { now } = histories.find(({ volume }) => volume.leaf === leaf)!;
    // Once the note about it is lost it is anybody's.
    const isRight = now.top === 'former' ? verdict === 'stale' || verdict === 'foreign' : verdict === 'healthy';
    if (!isRight) fail('I5', `${leaf.slice(0, 6)} is in use, and shown as ${verdict ?? 'never looked at'}`);
    if ((verdictAge ?? Infinity) > FRESH_S) fail('I5', `${leaf.slice(0, 6)} was not looked at for ${verdictAge} s`);
    if (needsRestart.length > 0) fail('I5', `${leaf.slice(0, 6)} is shown to need restarts of what has ended`);
  }
}

/** I2 in a healed and quiet world, after every user has asked for its volume once more: it is mounted and answers. */
export function judgeMounted(truth: Truth, histories: readonly History[], fail: Fail): void {
  for (const { volume, mountPoint, now } of histories) {
    const live = truth.keysOf(volume).some((key) => truth.certainty(key) === 'live');
    if (live && now.top !== 'former' && (now.top !== 'right' || now.server !== 'answering' || !now.hardened)) {
      fail(
        'I2',
        `${short(mountPoint)} has users and is ${now.top}, ${now.server}, ${now.hardened ? '' : 'not '}hardened`,
      );
    }
  }
}

/** I3 at the very end: everybody has disconnected, every hold is lifted, and nothing is left of it all. */
export function judgeEmpty(
  records: LedgerSnapshot,
  truth: Truth,
  host: Host,
  histories: readonly History[],
  fail: Fail,
): void {
  const left = histories.filter((history) => isUntold(history, truth, host));
  const untold = new Set<string>(left.map(({ volume }) => volume.leaf));
  for (const history of histories) {
    const { mountPoint, volume } = history;
    if (untold.has(volume.leaf)) continue;
    // Another volume that a helper mounted by mistake while the broker died is foreign by now, and has been reported.
    if (host.kernel.at(mountPoint).some((mount) => mount.serves === volume.export))
      fail('I3', `${short(mountPoint)} is still mounted after everybody has gone`);
    if (host.kernel.at(mountPoint).length === 0 && isLeaked(host, truth, history))
      fail('I3', `the directory ${short(mountPoint)} is left`);
  }
  const remaining = {
    mounts: records.mounts.filter(({ volume }) => !untold.has(volume.leaf)),
    attachments: records.attachments,
    holds: records.holds,
    operations: records.operations,
  };
  for (const [table, rows] of Object.entries(remaining)) {
    if (rows.length > 0) fail('I3', `the ledger still has ${table}: ${JSON.stringify(rows).slice(0, 300)}`);
  }
  const units = [...host.services.units.values()].map(({ mountPoint }) => short(mountPoint));
  if (units.length > 0) fail('I3', `units are left: ${units.join(' ')}`);
  // What was bound to a directory that is left on purpose may be bound to it again.
  const notes = host.notes.names.filter((name) => !name.startsWith('bound-') || !isLeafLeft(host, name));
  if (notes.length > 0) fail('I3', `notes are left: ${notes.join(' ')}`);
  for (const { home, maker, references } of host.kernel.superblocks.all) {
    const users = [...references].map(({ by }) => by).join(', ');
    if (maker === 'fairlead') fail('I3', `a superblock of ${short(home)} is left: ${users}`);
  }
}

/**
 * A leaf directory that we made and nobody needs. Some are left on purpose, empty and harmless, for the next connect: when
 * records were lost nobody knows any more whose it is (its name cannot be turned back into a volume), and when a stranger's
 * mount covered it at the release, or it was out of sight then, it could not be removed and is forgotten.
 */
function isLeaked({ tree }: Host, truth: Truth, history: History): boolean {
  if (tree.nodes.get(history.mountPoint)?.maker !== 'fairlead') return false;
  return (
    !truth.recordsLost && !history.wasHidden && !history.ever(0, (moment) => moment.top === 'other' || isTaken(moment))
  );
}

function isLeafLeft({ tree }: Host, note: string): boolean {
  const leaf = note.slice(note.lastIndexOf('-') + 1);
  return [...tree.nodes.values()].some(({ path, kind }) => kind === 'directory' && path.endsWith(`/${leaf}`));
}

// What `doctor` says of the volumes, beside what the broker finds on the host: everything that somebody should look at,
// from the records and from what was last seen, with the command that helps.

import { FairleadError } from '../core/errors.js';
import type { Finding } from '../core/broker-api.js';
import { adviceForSilent } from '../core/silent.js';
import type { ListedMount, ListReply, RequestContext } from '../core/requests.js';
import { describeHolder, type Holding } from '../core/observation.js';
import { escapeForLog, listed, shellWord } from '../core/text.js';
import type { Leaf } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { describeUsers, GAPS, useOf, type HoldUse } from './held.js';
import { list } from './list.js';

/** The findings of host and volumes together. Without a broker that itself is a finding, not a failure. */
export async function examine(context: Context, { deadlineMs }: RequestContext): Promise<readonly Finding[]> {
  const seen = list(context, true);
  const used = usedFindings(context, seen.mounts, deadlineMs / 2);
  const own = async (): Promise<readonly Finding[]> => [
    // First what explains the rest.
    ...diskFindings(context),
    ...setAsideFindings(seen),
    ...seen.mounts.flatMap((mount) => findingsOf(context, mount)),
    ...(await used),
  ];
  try {
    return [...(await context.ports.broker.examine(deadlineMs)), ...(await own())];
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    const message = `The broker does not answer: ${error.message}`;
    const mend = adviceForSilent('broker', error);
    return [{ subject: 'broker', severity: 'error', message, mend }, ...(await own())];
  }
}

function diskFindings({ diskFault }: Context): readonly Finding[] {
  if (diskFault === null) return [];
  const mend =
    diskFault.code === 'resource-exhausted'
      ? 'Make room on the disk of state_dir (df shows it); the next connect finds out.'
      : 'Look at the disk of state_dir: findmnt -T shows it, dmesg what the kernel says of it. Fairlead goes on by itself when it can be written to.';
  return [{ subject: 'state_dir', severity: 'error', message: diskFault.message, mend }];
}

function findingsOf(context: Context, mount: ListedMount): readonly Finding[] {
  const subject = subjectOf(mount.leaf);
  const path = shellWord(mount.mountpoint);
  const found: Finding[] = [];
  const add = (severity: Finding['severity'], message: string, mend: string): void => {
    found.push({ subject, severity, message, mend });
  };
  switch (mount.state) {
    case 'stuck':
      add(
        'error',
        'An operation cannot go on: something may still act on the leaf.',
        'It is worked off; look at the storage service.',
      );
      break;
    case 'vanished':
      add(
        'error',
        'It has users and is not mounted any more: somebody else has unmounted it, or it could not be mounted again after a start.',
        backCommand(mount),
      );
      break;
    case 'foreign':
      add(
        'warning',
        'A mount that is not ours, or that cannot be named any more, lies under the mount base. It is left alone.',
        `Whoever made it takes it away. What it is: findmnt ${path}; who uses it: fuser -vmM ${path}`,
      );
      break;
    case 'ending':
      add(
        'warning',
        'Nobody uses it any more, and its client or mount helper has not ended yet. It may still write, and is not ended.',
        'Wait: it ends by itself when it has written back what it has. If it does not, look at the storage service.',
      );
      break;
    case 'releasing':
    case 'mounting':
    case 'mounted':
      break;
  }
  if (mount.verdict === 'foreign' && mount.attachments.length > 0) {
    add(
      'error',
      'Something else is mounted over it while it is in use: whoever comes to its path sees that, not the volume.',
      `Whoever mounted it takes it away again. What it is: findmnt ${path}`,
    );
  }
  if (isUnusable(mount)) {
    const wayOut =
      mount.verdict === 'hung' ? `; if its server will never answer again: fairlead abort ${mount.leaf}` : '';
    const mend = `Look at the storage service, then: fairlead validate ${shellWord(mount.url ?? 'URL')}${wayOut}`;
    add('error', `When it was last looked at it was ${mount.verdict}.`, mend);
  }
  for (const attachment of mount.attachments) {
    if (attachment.orphan !== null) add('warning', ORPHANS[attachment.orphan], disconnectCommand(mount, attachment));
  }
  if (mount.needsRestart.length > 0) {
    const who = mount.needsRestart.map(({ pid, command }) => `${command} (pid ${pid})`).join(', ');
    add(
      'warning',
      'It died and was mounted again; some processes still hold the dead mount.',
      [`Restart ${who}.`, ...milderWays(context, mount)].join(' '),
    );
  }
  return found;
}

/** Whether somebody who uses it may have trouble with it. One that is only read may be read-only. */
function isUnusable({ verdict, attachments }: ListedMount): boolean {
  if (verdict === 'read-only') return !(attachments.length > 0 && attachments.every(({ readOnly }) => readOnly));
  return verdict === 'hung' || verdict === 'stale' || verdict === 'denied';
}

/**
 * A guest need not be restarted to get another file descriptor: its disk can be plugged out and in. Commands name the domain
 * by its UUID, since whoever defines domains chooses their names, and root is who runs the commands.
 */
function milderWays({ evidence }: Context, { leaf, url, attachments }: ListedMount): readonly string[] {
  return attachments.flatMap(({ consumer, disk }) => {
    const [, kind, uuid] = /^(vm|nova):([0-9a-f-]+)$/.exec(consumer) ?? [];
    if (uuid === undefined) return [];
    const name = evidence.usersOf(leaf).find((use) => (use.uuid as string) === uuid)?.name ?? uuid;
    const way =
      kind === 'nova'
        ? 'have Nova detach the volume, and attach it again.'
        : `fairlead vm detach ${uuid} ${shellWord(url ?? 'URL')} --disk ${disk === null ? 'NAME' : shellWord(disk)}, then fairlead vm attach ${uuid} with the words as before.`;
    return [`Milder for the domain ${escapeForLog(name)}: ${way}`];
  });
}

/** Mounts whose users are looked for at the same time, and at most in one request. */
const LOOKS_AT_ONCE = 2;
const MAX_LOOKS = 32;

/** What doctor says of mounts that only their users explain: held, or not to be unmounted. It takes at most `budgetMs`. */
async function usedFindings(
  context: Context,
  mounts: readonly ListedMount[],
  budgetMs: number,
): Promise<readonly Finding[]> {
  const deadline = new Deadline(context.ports.clock, budgetMs);
  const found: Finding[] = [];
  const waiting = [...mounts.filter(({ hold, state }) => hold !== null || state === 'releasing').entries()];
  const next = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
      const [index, { leaf, hold }] = one;
      const ms = index < MAX_LOOKS ? deadline.remaining : 0;
      found[index] =
        hold === null
          ? releasingFinding(leaf, await holdingWithin(context, leaf, ms))
          : holdFinding(leaf, await useWithin(context, leaf, ms));
    }
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, next));
  return found;
}

/** Who keeps a mount that is to be unmounted, as far as that can be found within the time. */
async function holdingWithin({ state, ports }: Context, leaf: Leaf, ms: number): Promise<Holding> {
  const unknown: Holding = { holders: [], complete: false };
  const record = state.mounts.get(leaf);
  if (record === undefined || ms === 0) return unknown;
  try {
    return await ports.broker.holders(record.volume, ms);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return unknown;
  }
}

function releasingFinding(leaf: Leaf, { holders, complete }: Holding): Finding {
  const message = [
    'Nobody is attached any more, and it cannot be unmounted yet.',
    ...(holders.length === 0 ? [] : [`Kept by: ${listed(holders.map(describeHolder))}.`]),
    ...(complete ? [] : ['Not everything could be looked at.']),
  ].join(' ');
  const mend =
    holders.length === 0
      ? 'Wait: it is tried again and again. If it stays, look at the storage service.'
      : 'Wait for these, or have them close what they have open there, or taken away: then it is unmounted by itself.';
  return { subject: subjectOf(leaf), severity: 'warning', message, mend };
}

/** The users as far as they can be found within the time. */
async function useWithin(context: Context, leaf: Leaf, ms: number): Promise<HoldUse> {
  const { state, evidence } = context;
  const record = state.mounts.get(leaf);
  const unknown: HoldUse = { domains: evidence.usersOf(leaf), holders: [], gap: evidence.gap ?? 'holders' };
  if (state.sightOf(leaf).vanished) return { domains: [], holders: [], gap: null };
  if (record === undefined || ms === 0) return unknown;
  try {
    return await useOf(context, record.volume, ms);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return unknown;
  }
}

function holdFinding(leaf: Leaf, use: HoldUse): Finding {
  const users = describeUsers(use);
  const message = [
    'It was found without a record and is kept by a hold.',
    ...(users === '' ? [] : [`In use: ${users}.`]),
    ...(use.gap === null ? [] : [GAPS[use.gap]]),
  ].join(' ');
  return { subject: subjectOf(leaf), severity: 'warning', message, mend: holdAdvice(leaf, use) };
}

function holdAdvice(leaf: Leaf, use: HoldUse): string {
  if (describeUsers(use) !== '') {
    return 'Leave the hold: with it they would lose the volume. fairlead vm attach takes over a disk that a domain has.';
  }
  return use.gap === null ? `fairlead lift-hold ${leaf}` : 'Leave the hold until that is known.';
}

const ORPHANS = {
  'no-domain': 'It is attached to a virtual machine that libvirt does not know any more.',
  unused: 'It is attached to a virtual machine that names no file of the volume any more.',
} as const;

type Listed = ListedMount['attachments'][number];

function disconnectCommand(mount: ListedMount, attachment: Listed): string {
  return `fairlead disconnect ${wordsOf(mount, attachment)}`;
}

/** Brings back what somebody took away: for one user, and so for all. What only a hold kept is not brought back. */
function backCommand(mount: ListedMount): string {
  const [attachment] = mount.attachments;
  if (attachment === undefined) return `fairlead lift-hold ${mount.leaf}`;
  return `fairlead connect ${wordsOf(mount, attachment)}${attachment.readOnly ? ' --read-only' : ''}`;
}

function wordsOf({ url }: ListedMount, { disk, consumer }: Listed): string {
  const choice = disk === null ? '' : ` --disk ${shellWord(disk)}`;
  return `${shellWord(url ?? 'URL')}${choice} --consumer ${shellWord(consumer)}`;
}

function subjectOf(leaf: Leaf): string {
  return `mount ${leaf}`;
}

function setAsideFindings({ setAside }: ListReply): readonly Finding[] {
  return setAside.map(({ table, key, reason }) =>
    table === 'ledger'
      ? {
          subject: 'ledger',
          severity: 'warning',
          message: `The ledger could not be trusted at a start (${key}): ${reason}`,
          mend: 'Connect what is in use and missing, disconnect what has ended, lift the holds of what nobody uses. It is over when no hold is left (docs/states.md).',
        }
      : {
          subject: `ledger ${table} ${key}`,
          severity: 'warning',
          message: `A record could not be read back: ${reason}`,
          mend: 'Its mounts are kept by holds; lift them when nobody uses them. It is over when no hold is left.',
        },
  );
}

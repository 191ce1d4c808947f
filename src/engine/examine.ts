// What `doctor` says of the volumes, beside what the broker finds on the host: everything that somebody should look at,
// from the records and from what was last seen, with the command that helps.

import { FairleadError } from '../core/errors.js';
import type { Finding } from '../core/broker-api.js';
import type { ListedMount, ListReply, RequestContext } from '../core/requests.js';
import type { SetAsideRecord } from '../core/records.js';
import { escapeForLog } from '../core/text.js';
import type { Leaf } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { describeUsers, GAPS, useOf, type HoldUse } from './held.js';
import { list } from './list.js';

/** The findings of host and volumes together. Without a broker that itself is a finding, not a failure. */
export async function examine(
  context: Context,
  setAside: readonly SetAsideRecord[],
  { deadlineMs }: RequestContext,
): Promise<readonly Finding[]> {
  const seen = list(context, setAside, true);
  const holding = holdFindings(context, seen.mounts, deadlineMs / 2);
  const own = async (): Promise<readonly Finding[]> => [
    ...diskFindings(context),
    ...seen.mounts.flatMap((mount) => findingsOf(context, mount)),
    ...(await holding),
    ...setAsideFindings(seen),
  ];
  try {
    return [...(await context.ports.broker.examine(deadlineMs)), ...(await own())];
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    const message = `The broker does not answer: ${error.message}`;
    const mend = 'fairlead up restarts it; if it does not, look at its log lines.';
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
  const subject = `mount ${mount.leaf}`;
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
        'Connect it again, by any of its users.',
      );
      break;
    case 'foreign':
      add(
        'warning',
        'A mount that is not ours, or that cannot be named any more, lies under the mount base. It is left alone.',
        `findmnt ${mount.mountpoint} shows what it is; fuser -vm ${mount.mountpoint} shows who uses it.`,
      );
      break;
    case 'releasing':
      add(
        'warning',
        'Nobody uses it any more, and it cannot be unmounted yet.',
        `Who keeps it: grep -l ${mount.leaf} ${MOUNT_TABLES}; fuser -vm ${mount.mountpoint}`,
      );
      break;
    case 'ending':
      add(
        'warning',
        'Nobody uses it any more, and its client or mount helper has not ended yet. It may still write, and is not ended.',
        `Wait. pgrep -af ${mount.leaf} shows what it is; end it by hand only if it is certain that it writes nothing.`,
      );
      break;
    case 'mounting':
    case 'mounted':
      break;
  }
  if (mount.verdict === 'foreign' && mount.attachments.length > 0) {
    add(
      'error',
      'Something else is mounted over it while it is in use: whoever comes to its path sees that, not the volume.',
      `findmnt ${mount.mountpoint} shows what it is; whoever mounted it should take it away again.`,
    );
  }
  if (mount.verdict !== null && !['healthy', 'absent', 'foreign'].includes(mount.verdict)) {
    const wayOut =
      mount.verdict === 'hung' ? `; if its server will never answer again: fairlead abort ${mount.leaf}` : '';
    const mend = `fairlead validate ${mount.url ?? 'URL'}${wayOut}`;
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

/** Held mounts whose users are looked for at the same time, and at most in one request. */
const HOLDS_AT_ONCE = 2;
const MAX_HOLDS = 32;

/** What doctor says of holds: who uses the mounts. It takes at most `budgetMs`. */
async function holdFindings(
  context: Context,
  mounts: readonly ListedMount[],
  budgetMs: number,
): Promise<readonly Finding[]> {
  const deadline = new Deadline(context.ports.clock, budgetMs);
  const held = mounts.filter(({ hold }) => hold !== null).map(({ leaf }) => leaf);
  const found: Finding[] = [];
  const waiting = [...held.entries()];
  const next = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
      const [index, leaf] = one;
      const ms = index < MAX_HOLDS ? deadline.remaining : 0;
      found[index] = holdFinding(leaf, await useWithin(context, leaf, ms));
    }
  };
  await Promise.all(Array.from({ length: HOLDS_AT_ONCE }, next));
  return found;
}

/** The users as far as they can be found within the time. */
async function useWithin(context: Context, leaf: Leaf, ms: number): Promise<HoldUse> {
  const { state, evidence } = context;
  const record = state.mounts.get(leaf);
  const unknown: HoldUse = { domains: evidence.usersOf(leaf), holders: [], gap: evidence.gap ?? 'holders' };
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
  return { subject: `mount ${leaf}`, severity: 'warning', message, mend: holdAdvice(leaf, use) };
}

function holdAdvice(leaf: Leaf, use: HoldUse): string {
  if (describeUsers(use) !== '') {
    return 'Leave the hold: with it they would lose the volume. fairlead vm attach takes over a disk that a domain has.';
  }
  return use.gap === null ? `fairlead lift-hold ${leaf}` : 'Leave the hold until that is known.';
}

/** The mount tables of all processes, for a shell. */
const MOUNT_TABLES = '/proc/[0-9]*/mountinfo';

const ORPHANS = {
  'no-domain': 'It is attached to a virtual machine that libvirt does not know any more.',
  unused: 'It is attached to a virtual machine that names no file of the volume any more.',
} as const;

function disconnectCommand({ url }: ListedMount, { disk, consumer }: ListedMount['attachments'][number]): string {
  const choice = disk === null ? '' : ` --disk ${shellWord(disk)}`;
  return `fairlead disconnect ${shellWord(url ?? 'URL')}${choice} --consumer ${shellWord(consumer)}`;
}

/** The text as one word of a shell's command line. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function setAsideFindings({ setAside }: ListReply): readonly Finding[] {
  return setAside.map(({ table, key, reason }) =>
    table === 'ledger'
      ? {
          subject: 'ledger',
          severity: 'warning',
          message: `The ledger could not be trusted at a start (${key}): ${reason}`,
          mend: 'Connect what is in use and missing, disconnect what has ended, lift the holds of what nobody uses.',
        }
      : {
          subject: `ledger ${table} ${key}`,
          severity: 'warning',
          message: `A record could not be read back: ${reason}`,
          mend: 'Its mounts are kept by holds; lift them when nobody uses them.',
        },
  );
}

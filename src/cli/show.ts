// Answers as text for people. What comes in is what the agent said; every text of it is escaped before it reaches the
// terminal. No width is assumed: lines are as long as they are.

import type {
  AbortReply,
  ConnectPlan,
  ConnectReply,
  DisconnectReply,
  ListReply,
  ListedMount,
  ValidateReply,
} from '../core/requests.js';
import type { Finding } from '../core/broker-api.js';
import { describeHolder, type Holder } from '../core/observation.js';
import { escapeForLog, hasForbidden, shellWord } from '../core/text.js';
import { table } from './table.js';

function holders(list: readonly Holder[]): string {
  return list.map(describeHolder).join(', ');
}

/** Of `connect`, and of `connect --dry-run`. */
export function showConnect(reply: unknown): string {
  const answer = reply as ConnectReply | ConnectPlan;
  if ('steps' in answer) {
    const steps = answer.steps.map(({ kind }) => kind).join(', ');
    return table([
      ['would do', steps === '' ? 'nothing' : steps],
      ['verdict', answer.verdict],
      ['mountpoint', answer.mountpoint],
    ]);
  }
  return table([
    ['path', answer.path],
    ['verdict', answer.verdict],
    ['changed', answer.changed ? 'yes' : 'no, everything was in place'],
    ...(answer.disk === 'absent' ? [['disk', 'there is no such file yet']] : []),
    ...answer.notes.map((note) => ['note', note]),
  ]);
}

/** Of `disconnect`. */
export function showDisconnect(reply: unknown): string {
  return table(disconnectRows(reply as DisconnectReply));
}

/** What is true of a mount after a disconnect, as rows. */
export function disconnectRows(answer: DisconnectReply): string[][] {
  return [
    ['outcome', answer.outcome],
    ['mounted', answer.mounted ? 'yes' : 'no'],
    ...(answer.ending ? [['client', 'has not ended yet; it does so by itself']] : []),
    ...(answer.usedBy.length === 0 ? [] : [['used by', answer.usedBy.join(', ')]]),
    ...(answer.holders.length === 0 ? [] : [['kept busy by', holders(answer.holders)]]),
    ...(answer.disks ?? []).map((disk) => ['but', disk === null ? WITHOUT_DISK : namesDisk(disk)]),
  ];
}

/** Of the attachments that the consumer has, when the request named none of them. */
const WITHOUT_DISK = 'this consumer is attached without a disk: leave out --disk';

function namesDisk(disk: string): string {
  return `this consumer is attached with a disk, which the request must name: --disk ${shellWord(disk)}`;
}

/** Of `validate`. */
export function showValidate(reply: unknown): string {
  const answer = reply as ValidateReply;
  return table([
    ['verdict', answer.verdict],
    ['reason', answer.reason],
    ['mountpoint', answer.mountpoint],
  ]);
}

/** Of `ls`. */
export function showMounts(reply: unknown): string {
  const answer = reply as ListReply;
  const lines: string[] = [];
  if (answer.mounts.length === 0) lines.push('No mounts.');
  else lines.push(table([['LEAF', 'STATE', 'VERDICT', 'USED BY', 'VOLUME'], ...answer.mounts.map(mountRow)]));
  for (const { leaf, state, former } of answer.mounts) {
    if (former.length > 0 && state !== 'releasing' && state !== 'ending') lines.push(`${leaf}: ${tellFormer(former)}`);
  }
  for (const { leaf, keptBy } of answer.mounts) {
    if (keptBy.length > 0) lines.push(escapeForLog(`${leaf} is kept from its unmount by ${holders(keptBy)}`));
  }
  for (const { leaf, state } of answer.mounts) {
    if (state === 'vanished') lines.push(escapeForLog(`${leaf} ${VANISHED}`));
  }
  for (const { leaf, needsRestart } of answer.mounts) {
    if (needsRestart.length > 0) {
      lines.push(
        escapeForLog(`${leaf} was replaced; these still hold the dead one, restart them: ${holders(needsRestart)}`),
      );
    }
  }
  for (const { table: kind, key, reason } of answer.setAside) {
    const what =
      kind === 'ledger'
        ? `The ledger could not be trusted at a start (${key})`
        : `The ledger has a record it cannot read (${kind} ${key})`;
    lines.push(escapeForLog(`${what}: ${reason}`));
  }
  if (answer.fault !== null) lines.push(escapeForLog(answer.fault));
  if (waitsForEvidence(answer)) lines.push(NO_EVIDENCE[answer.domains]);
  if (answer.broker === 'absent') lines.push('No broker is connected: nothing can be mounted or unmounted now.');
  if (answer.state === 'reconciling') lines.push('What was open at the last start is still being worked off.');
  return lines.join('\n');
}

/** Clients of earlier mounts of a volume that is mounted anew. */
function tellFormer(former: ListedMount['former']): string {
  const releasing = former.filter(({ state }) => state === 'releasing').length;
  const ending = former.length - releasing;
  return [
    ...(releasing > 0 ? [`${releasing} earlier mounts of it are still used elsewhere`] : []),
    ...(ending > 0 ? [`${ending} of its earlier clients have not ended yet`] : []),
  ].join(', ');
}

const VANISHED =
  'is in use and not mounted: somebody else has unmounted it, or it could not be mounted again after a start. Connect it again; fairlead doctor says more.';
/** What stands for the verdict where there is none. What is not ours, or on its way, is not looked at. */
const NOT_LOOKED_AT: Readonly<Record<ListedMount['state'], string>> = {
  mounted: 'not looked at yet',
  vanished: 'not looked at yet',
  foreign: '-',
  mounting: '-',
  releasing: '-',
  ending: '-',
  stuck: '-',
};
const ORPHANS = { 'no-domain': 'no such domain', unused: 'its domain names no file of the volume' } as const;
const NO_EVIDENCE = {
  off: '',
  complete: '',
  unknown: "libvirt's domains could not be read: nothing is concluded about holds and guests' attachments.",
  incomplete: "Some of libvirt's domains could not be read: nothing is concluded about holds and guests' attachments.",
} as const;

/** Whether anything is listed that evidence could change, and there is none. */
function waitsForEvidence({ domains, mounts }: ListReply): boolean {
  if (domains === 'off' || domains === 'complete') return false;
  return mounts.some(
    ({ hold, attachments }) => hold !== null || attachments.some(({ consumer }) => /^(?:vm|nova):/.test(consumer)),
  );
}

function mountRow(mount: ListedMount): string[] {
  const users = mount.attachments.map(({ consumer, disk, readOnly, orphan }) => {
    const lost = orphan === null ? '' : ` (${ORPHANS[orphan]})`;
    return `${consumer}${disk === null ? '' : `/${disk}`}${readOnly ? ' (ro)' : ''}${lost}`;
  });
  if (mount.hold !== null) users.push(`hold:${mount.hold}`);
  const { operation } = mount;
  const doing = operation === null ? '' : ` (${operation.kind}${operation.step === null ? '' : `: ${operation.step}`})`;
  const age = mount.verdictAge === null ? '' : ` (${Math.round(mount.verdictAge)}s ago)`;
  return [
    mount.leaf,
    `${mount.state}${doing}`,
    mount.verdict === null ? NOT_LOOKED_AT[mount.state] : `${mount.verdict}${age}`,
    users.length === 0 ? '-' : users.join(' '),
    mount.url ?? `unknown, at ${mount.mountpoint}`,
  ];
}

/** Of `disk-config`. */
export function showDisk(reply: unknown, form: 'xml' | 'table'): string {
  const disk = reply as {
    readonly path: string;
    readonly xml: string;
    readonly driver: { readonly type: string; readonly cache: string; readonly io: string };
    readonly target: { readonly dev: string; readonly bus: string };
    readonly readonly: boolean;
  };
  if (form === 'xml') return disk.xml.split('\n').map(exact).join('\n');
  return table([
    ['path', disk.path],
    ['format', disk.driver.type],
    ['cache', disk.driver.cache],
    ['io', disk.driver.io],
    ['target', `${disk.target.dev} on ${disk.target.bus}`],
    ['read-only', disk.readonly ? 'yes' : 'no'],
  ]);
}

/** The line as it is, since a program reads it; escaped only if it has what no accepted text has. */
function exact(line: string): string {
  return hasForbidden(line) ? escapeForLog(line) : line;
}

/** Of `doctor`. */
export function showFindings(reply: unknown): string {
  const { findings } = reply as { readonly findings: readonly Finding[] };
  if (findings.length === 0) return 'Nothing is wrong.';
  return findings
    .map(({ severity, subject, message, mend }) => {
      return `${escapeForLog(`${severity}: ${subject}: ${message}`)}\n    ${escapeForLog(mend)}`;
    })
    .join('\n');
}

/** Of `abort`. */
export function showAbort(reply: unknown): string {
  const { usedBy } = reply as AbortReply;
  return [
    'The connection is aborted: everybody with open files on this mount gets errors from them now.',
    usedBy.length === 0
      ? 'Nobody is attached, so the mount is taken away.'
      : escapeForLog(
          `It is mounted again for ${usedBy.join(', ')} as soon as its storage answers; fairlead ls then shows which processes to restart.`,
        ),
  ].join('\n');
}

/** Of `lift-hold`. */
export function showLift(reply: unknown): string {
  const { lifted } = reply as { readonly lifted: boolean };
  return lifted ? 'The hold is lifted.' : 'There was no hold.';
}

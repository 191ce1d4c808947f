// Answers about disks of virtual machines, as text for people. Every text of the agent is escaped before it reaches the terminal.

import { escapeForLog } from '../core/text.js';
import type {
  ListedVmDisk,
  ListedVmOrphan,
  VmAttachReply,
  VmDetachReply,
  VmExtendReply,
  VmListReply,
} from '../core/vm-requests.js';
import { disconnectRows } from './show.js';
import { table } from './table.js';

/** Of `vm attach`. */
export function showAttach(reply: unknown): string {
  const answer = reply as VmAttachReply;
  return table([
    ['domain', answer.domain.name],
    ['target', answer.target],
    ['path', answer.path],
    ['changed', answer.changed ? 'yes' : 'no, everything was in place'],
    ...(answer.created ? [['image', 'made now']] : []),
    ...answer.notes.map((note) => ['note', note]),
  ]);
}

/** Of `vm detach`. */
export function showDetach(reply: unknown): string {
  const answer = reply as VmDetachReply;
  const { domain, target, changed } = answer;
  return table([
    ['domain', domain.name],
    ['disk', changed ? `taken away${target === null ? '' : `, it was ${target}`}` : 'the domain did not have it'],
    ...disconnectRows(answer),
  ]);
}

/** Of `vm extend`. */
export function showExtend(reply: unknown): string {
  const { domain, target, path, bytes, changed, by } = reply as VmExtendReply;
  return table([
    ['domain', domain.name],
    ['target', target],
    ['path', path],
    ['size', showSize(bytes)],
    ['changed', changed ? 'yes' : 'no, it had that size'],
    ...(changed ? [['by', BY[by]]] : []),
  ]);
}

const BY = {
  hypervisor: 'QEMU: the guest can see it now',
  image: 'qemu-img: the guest will see it at its next start',
} as const;

/** Of `vm ls`. */
export function showVmDisks(reply: unknown): string {
  const { disks, orphans, complete } = reply as VmListReply;
  const lines: string[] = [];
  if (disks.length === 0) lines.push('No domain has a disk of a volume.');
  else lines.push(table([HEAD, ...disks.map(diskRow)]));
  for (const orphan of orphans) lines.push(...orphanLines(orphan));
  if (!complete) lines.push('Some domains could not be read; they may have disks that are not listed.');
  return lines.join('\n');
}

const HEAD = ['DOMAIN', 'TARGET', 'DISK', 'FORMAT', 'WHERE', 'ATTACHED', 'VOLUME'];

function diskRow({ domain, target, disk, format, readOnly, live, persistent, ...rest }: ListedVmDisk): string[] {
  const where = live ? (persistent ? 'running, next start' : 'running') : 'next start';
  const by = rest.consumer === null ? 'by others' : rest.consumer.startsWith('nova:') ? 'by Nova' : 'by Fairlead';
  const volume = rest.url ?? `unknown, leaf ${rest.leaf}`;
  return [domain.name, target, `${disk}${readOnly ? ' (ro)' : ''}`, format ?? '-', where, by, volume];
}

const WHY = {
  'no-domain': 'there is no such domain',
  unused: 'the domain names no file of the volume',
} as const;

function orphanLines({ consumer, leaf, url, disk, why, confirmed }: ListedVmOrphan): string[] {
  const [option, file] = disk === null ? ['', ''] : [` --disk ${disk}`, `/${disk}`];
  const what = escapeForLog(`Attachment of ${consumer} at ${leaf}${file}: ${WHY[why]}`);
  // In the middle of an attach it is so, too: no command that ends it is offered before it is certain.
  if (!confirmed) return [`${what} at this moment.`];
  const end = `fairlead disconnect ${url ?? 'URL'}${option} --consumer ${consumer}`;
  return [`${what}. If nobody needs it, end it:`, `    ${escapeForLog(end)}`];
}

/** In the largest unit that gives a whole number, as qemu-img counts. */
function showSize(bytes: number): string {
  const units = ['', 'K', 'M', 'G', 'T'];
  let [size, unit] = [bytes, 0];
  while (size > 0 && size % 1024 === 0 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return unit === 0 ? `${bytes} bytes` : `${size}${units[unit] ?? ''} (${bytes} bytes)`;
}

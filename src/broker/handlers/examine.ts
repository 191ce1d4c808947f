// `examine`: what is wrong on this host as far as the broker can see it, each finding with its mend. It looks at facts of
// directories, files and units; it asks no server and changes nothing. Messages name paths of the configuration, since
// only the operator reads them; never a volume.

import type { BackendSettings } from '../../backends/backend.js';
import type { Finding } from '../../core/broker-api.js';
import { FairleadError } from '../../core/errors.js';
import { escapeForLog, listed, shellWord } from '../../core/text.js';
import { MAX_FINDINGS_OF_A_KIND } from '../../core/limits.js';
import type { LeafState } from '../../core/observation.js';
import { BACKEND_NAMES, isLeaf, type Leaf } from '../../core/volume.js';
import type { Context } from '../context.js';
import { LATE, within } from '../../core/deadline.js';
import { baseFault, fileFault } from '../../sys/soundness.js';
import type { Handler } from './handler.js';

/** Search permission for everybody (inode(7)). */
const SEARCHABLE_BY_ALL = 0o001;

/** States of a leaf in which nothing can be mounted upon it. */
const OCCUPIED: ReadonlySet<LeafState> = new Set<LeafState>(['occupied', 'link', 'not-a-directory']);

/** See the file's head. */
export const examine: Handler<'examine'> = async ({ context, deadline }) => {
  const { clock, units } = context.machine;
  const findings: Finding[] = [];
  for (const name of BACKEND_NAMES) {
    const settings = context.settings.backends[name];
    findings.push(...examineBase(context, name, settings), ...examineStrangers(context, settings));
  }
  const { quobyte } = context.settings.backends;
  findings.push(
    ...examineFile(context, 'mount helper', quobyte.mountHelper, 'backend.quobyte.mount_helper'),
    ...examineFile(context, 'unmount helper', quobyte.unmountHelper, 'backend.quobyte.unmount_helper'),
    ...examineFile(context, 'client configuration', quobyte.clientConfig, 'backend.quobyte.client_config'),
  );
  if (context.machine.directories.chain('/dev/fuse').at(-1)?.kind === 'absent') {
    findings.push(error('/dev/fuse', 'There is no /dev/fuse, so no FUSE filesystem can be mounted.', 'modprobe fuse'));
  }
  const way = await within(clock, wayOf(units), deadline.remaining);
  if (way === LATE) {
    findings.push(error('systemd', 'systemd did not say its state in time.', 'systemctl is-system-running'));
  } else if (way !== null) {
    findings.push(way);
  }
  return findings;
};

async function wayOf(units: Context['machine']['units']): Promise<Finding | null> {
  try {
    await units.way();
    return null;
  } catch (failure) {
    if (!(failure instanceof FairleadError)) throw failure;
    return error('systemd', failure.message, 'systemctl is-system-running');
  }
}

function examineBase(context: Context, name: string, settings: BackendSettings): readonly Finding[] {
  const chain = context.machine.directories.chain(settings.mountBase);
  const subject = `mount base of ${name}`;
  const fault = baseFault(chain, context.settings.trustedBaseOwners);
  if (fault !== null) return [error(subject, fault.message, fault.mend)];
  const closed = chain.find(({ mode }) => (mode & SEARCHABLE_BY_ALL) === 0);
  if (closed === undefined) return [];
  const message = `${closed.path} cannot be searched by everybody, so a virtual machine's user cannot reach its disk.`;
  return [warning(subject, message, `chmod a+x ${shellWord(closed.path)}`)];
}

/** Mounts below a base that are not at a leaf, and leaves that cannot be mounted upon. */
function examineStrangers(context: Context, { mountBase }: BackendSettings): readonly Finding[] {
  const { table, directories } = context.machine;
  const findings: Finding[] = [];
  const strange = table.below(mountBase).filter(({ mountPoint }) => !isLeaf(mountPoint.slice(mountBase.length + 1)));
  if (strange.length > 0) {
    const message = `Mounts below ${mountBase} that are not at a leaf, or inside a volume: ${listed(strange.map(({ mountPoint }) => escapeForLog(mountPoint)))}. They are not touched, and a volume with one inside cannot be unmounted.`;
    const mend = `Whoever made them takes them away. What they are: findmnt -o TARGET,SOURCE,FSTYPE --list | grep -F ${shellWord(`${mountBase}/`)}`;
    findings.push(warning('foreign mount', message, mend));
  }
  if (directories.chain(mountBase).at(-1)?.kind !== 'directory') return findings;
  const isOccupied = (name: Leaf): boolean => OCCUPIED.has(directories.leafState(mountBase, name));
  const occupied = directories.list(mountBase).filter(isLeaf).filter(isOccupied);
  for (const name of occupied.slice(0, MAX_FINDINGS_OF_A_KIND)) {
    const message = `Something lies at ${mountBase}/${name}, so its volume cannot be mounted.`;
    const path = shellWord(`${mountBase}/${name}`);
    const mend = `Look at it, then move it away: mv -T --backup=numbered ${path} ${path}.moved`;
    findings.push(warning('occupied leaf', message, mend));
  }
  const more = occupied.length - MAX_FINDINGS_OF_A_KIND;
  if (more > 0) {
    const message = `Something lies at ${more} more leaves below ${mountBase}, so their volumes cannot be mounted.`;
    findings.push(warning('occupied leaf', message, 'Move away what is shown above, and run fairlead doctor again.'));
  }
  return findings;
}

/**
 * A file that must be there, root's, and writable by nobody else. One that is reached through a link (`/sbin` on many
 * hosts) is not judged here: whoever starts it looks at the file itself.
 */
function examineFile(context: Context, role: string, path: string | null, setting: string): readonly Finding[] {
  if (path === null) return [];
  const chain = context.machine.directories.chain(path);
  if (chain.some(({ kind }) => kind === 'link')) return [];
  const file = chain.at(-1);
  if (file === undefined || file.kind === 'absent') {
    return [error(role, `${path} does not exist.`, `Install the client, or set ${setting}.`)];
  }
  const fault = fileFault(chain);
  return fault === null ? [] : [error(role, fault.message, fault.mend)];
}

function error(subject: string, message: string, mend: string): Finding {
  return { subject, severity: 'error', message, mend };
}

function warning(subject: string, message: string, mend: string): Finding {
  return { subject, severity: 'warning', message, mend };
}

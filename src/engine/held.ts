// Who uses a mount that only a hold keeps: what is asked before an operator lifts it, and what doctor says of it. The
// domains as they were last read, and whoever has something open there now.

import { FairleadError } from '../core/errors.js';
import { userOf } from '../core/names.js';
import { describeHolder, type Holder } from '../core/observation.js';
import { escapeForLog, listed } from '../core/text.js';
import type { Volume } from '../core/volume.js';
import { ANY_FILE } from '../core/domain-use.js';
import type { Context } from './context.js';
import type { DomainUse, EvidenceGap } from './evidence.js';

/** What is known of a held mount's users. */
export interface HoldUse {
  readonly domains: readonly DomainUse[];
  /** Copies in other mount namespaces that nobody uses are left out. */
  readonly holders: readonly Holder[];
  /** Why there may be more users than these; null: these are all that can be found. */
  readonly gap: EvidenceGap | 'holders' | null;
}

/**
 * Looks for the users of a mount. Whoever is attached is not among them: attachments keep the mount themselves, and
 * then no process loses anything with the hold. Rejects when nobody can look.
 */
export async function useOf(context: Context, volume: Volume, budgetMs: number): Promise<HoldUse> {
  const { state, ports } = context;
  const attached = new Set(state.attachmentsOf(volume.leaf).map(({ consumer }) => userOf(consumer) as string));
  const { holders, complete } =
    attached.size > 0 ? { holders: [], complete: true } : await ports.broker.holders(volume, budgetMs);
  return {
    domains: context.evidence.usersOf(volume.leaf).filter(({ uuid }) => !attached.has(`vm:${uuid}`)),
    holders: holders.filter(({ by }) => by !== 'namespace'),
    gap: context.evidence.gap ?? (complete ? null : 'holders'),
  };
}

/** The users in words: `the domain web (disk-1), qemu (pid 7, descriptor)`; empty where there are none. */
export function describeUsers({ domains, holders }: Pick<HoldUse, 'domains' | 'holders'>): string {
  return listed([...domains.map(describeDomain), ...holders.map(describeHolder)]);
}

function describeDomain({ name, running, files }: DomainUse): string {
  const named = files.map((file) => (file === '' || file === ANY_FILE ? 'the volume itself' : escapeForLog(file)));
  return `the ${running ? 'running' : 'stopped'} domain ${escapeForLog(name)} (${listed([...new Set(named)])})`;
}

/** Why nobody can say that there are no users. */
export const GAPS: Readonly<Record<NonNullable<HoldUse['gap']>, string>> = {
  'not-yet': "libvirt's domains have not been read yet, so it is not known whether one uses the mount.",
  'in-part': "Only some of libvirt's domains could be read, so it is not known whether another one uses the mount.",
  unreadable: "libvirt's domains could not be read, so it is not known whether one uses the mount.",
  holders: 'Not every process could be looked at, so it is not known whether one uses the mount.',
};

/** Throws `busy` where somebody uses the mount, or may use it. */
export function refuseUsed({ leaf }: Volume, use: HoldUse): void {
  const users = describeUsers(use);
  if (users !== '') {
    throw new FairleadError(
      'busy',
      `The mount is used, and would be taken away with its hold: ${users}. Take the disks from the domains or attach them (fairlead vm attach), end the processes, then try again; --force (force=true) lifts the hold all the same.`,
      { leaf },
    );
  }
  if (use.gap === null) return;
  throw new FairleadError(
    'busy',
    `${GAPS[use.gap]} fairlead doctor says more. Try again when that is known; --force (force=true) lifts the hold all the same.`,
    { leaf },
  );
}

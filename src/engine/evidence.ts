// What is known of libvirt's domains, held against the records: which holds nobody needs, which attachments have lost their user.
// Domains are evidence, never attachments. Only complete evidence proves that something is unused, and only after it has been the same
// for a while; a domain that uses something proves that at once, from however little evidence. Nothing is done here, only concluded.

import type { Clock } from '../core/clock.js';
import type { Survey } from '../core/domains.js';
import { userOf, type Consumer } from '../core/names.js';
import type { AttachmentRecord, HoldRecord } from '../core/records.js';
import type { DomainKnowledge, Orphanhood } from '../core/requests.js';
import { isLeaf, type Leaf } from '../core/volume.js';
import type { EvidencePolicy } from './ports.js';
import type { State } from './state.js';

/** Complete surveys in a row that a conclusion needs, whatever the time between them. */
const SURVEYS_IN_A_ROW = 3;

/** What complete surveys say of a hold or an attachment, one after the other without one that says otherwise. */
interface Row {
  /** Clock time of the first of them. This agent heard it, and the hold or attachment was there already. */
  readonly since: number;
  readonly surveys: number;
  readonly finding: 'idle' | Orphanhood;
  /** Enough of them, over enough time. */
  readonly ripe: boolean;
}

/** What the domains of one survey use. */
interface Use {
  readonly leaves: ReadonlySet<string>;
  /** By UUID: the files that the domain has, as {@link fileIn} names them. */
  readonly files: ReadonlyMap<string, ReadonlySet<string>>;
}

/** The evidence that this agent has heard. */
export class Evidence {
  readonly #state: State;
  readonly #clock: Clock;
  readonly #policy: EvidencePolicy | null;
  /** By the record itself: one that is written anew begins anew. */
  #rows = new Map<HoldRecord | AttachmentRecord, Row>();
  #known: Exclude<DomainKnowledge, 'off'> = 'unknown';

  /** `policy` null: nobody reads domains. */
  constructor(state: State, clock: Clock, policy: EvidencePolicy | null) {
    this.#state = state;
    this.#clock = clock;
    this.#policy = policy;
  }

  /** What the last survey was. */
  get known(): DomainKnowledge {
    return this.#policy === null ? 'off' : this.#known;
  }

  /** Weighs a survey; null: there is none. */
  take(survey: Survey | null): void {
    this.#known = survey === null ? 'unknown' : survey.complete ? 'complete' : 'incomplete';
    const use = useOf(survey);
    const rows = new Map<HoldRecord | AttachmentRecord, Row>();
    const weigh = (record: HoldRecord | AttachmentRecord, finding: Row['finding'] | null): void => {
      const row = this.#next(this.#rows.get(record), finding);
      if (row !== null) rows.set(record, row);
    };
    for (const hold of this.#state.holds.values()) weigh(hold, use.leaves.has(hold.leaf) ? null : 'idle');
    for (const attachment of this.#state.attachments()) weigh(attachment, orphanhoodIn(use, attachment));
    this.#rows = rows;
  }

  /** Somebody has just asked for this attachment: whatever was concluded of it, it is wanted. */
  renew(attachment: AttachmentRecord): void {
    this.#rows.delete(attachment);
  }

  /** Whether no domain has used the held mount, in complete evidence and for long enough. */
  isIdle(hold: HoldRecord): boolean {
    return this.#rows.get(hold)?.ripe === true;
  }

  /** In which way the attachment is an orphan, or null. */
  orphanhoodOf(attachment: AttachmentRecord): Orphanhood | null {
    const row = this.#rows.get(attachment);
    return row?.ripe === true && row.finding !== 'idle' ? row.finding : null;
  }

  /** The row after one more survey; `finding` null: the survey shows a use. */
  #next(row: Row | undefined, finding: Row['finding'] | null): Row | null {
    if (finding === null) return null;
    if (this.#known !== 'complete') {
      // It proves nothing, so the row is broken. An orphan stays shown as one until it is seen to be used; a hold is lifted only while
      // the evidence is there.
      return row?.ripe === true && row.finding !== 'idle' ? row : null;
    }
    const now = this.#clock.now();
    const since = row?.since ?? now;
    const surveys = (row?.surveys ?? 0) + 1;
    const aged = this.#policy !== null && now - since >= this.#policy.ageMs;
    return { since, surveys, finding, ripe: surveys >= SURVEYS_IN_A_ROW && aged };
  }
}

/**
 * What the domains use. A leaf counts as used wherever its name is a component of a path: the mount base may be spelled in another way,
 * through a link or a bind, and a leaf's name is nobody else's.
 */
function useOf(survey: Survey | null): Use {
  const leaves = new Set<string>();
  const files = new Map<string, Set<string>>();
  for (const { uuid, disks, otherFiles } of survey?.domains ?? []) {
    const own = files.get(uuid) ?? new Set<string>();
    files.set(uuid, own);
    for (const path of [...disks.map((disk) => disk.path), ...otherFiles]) {
      const parts = (path ?? '').split('/').filter((part) => part !== '' && part !== '.');
      for (const [index, part] of parts.entries()) {
        if (!isLeaf(part)) continue;
        leaves.add(part);
        own.add(parts.includes('..') ? fileIn(part, '..') : fileIn(part, parts.slice(index + 1).join('/')));
      }
    }
  }
  return { leaves, files };
}

function fileIn(leaf: Leaf, file: string): string {
  return `${leaf}/${file}`;
}

/** Null where the attachment is used, or where no domain is to be expected. */
function orphanhoodIn({ files }: Use, { consumer, leaf, disk }: AttachmentRecord): Orphanhood | null {
  const uuid = domainOf(consumer);
  if (uuid === null) return null;
  const own = files.get(uuid);
  if (own === undefined) return 'no-domain';
  // Where a path goes up again nobody can tell what it names.
  if (disk === null || own.has(fileIn(leaf, disk)) || own.has(fileIn(leaf, '..'))) return null;
  return 'unused';
}

/** The UUID of the domain that is this consumer, or null. */
function domainOf(consumer: Consumer): string | null {
  const user = userOf(consumer);
  return user.startsWith('vm:') ? user.slice('vm:'.length) : null;
}

// What is known of libvirt's domains, held against the records: which holds nobody needs, which attachments have lost their user.
// Domains are evidence, never attachments. Only complete evidence proves that something is unused, and only after it has been the same
// for a while; a domain that uses something proves that at once, from however little evidence. Nothing is done here, only concluded.

import type { Clock } from '../core/clock.js';
import { filesOf, filesOnLeaves } from '../core/domain-use.js';
import type { Domain, Survey } from '../core/domains.js';
import { within } from '../core/deadline.js';
import { userOf, type Consumer } from '../core/names.js';
import type { AttachmentRecord, HoldRecord } from '../core/records.js';
import type { DomainKnowledge, Orphanhood } from '../core/requests.js';
import type { Leaf } from '../core/volume.js';
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

/** A domain that names something on a leaf. */
export interface DomainUse extends Pick<Domain, 'uuid' | 'name' | 'running'> {
  /** Files as {@link filesOnLeaves} names them. */
  readonly files: readonly string[];
}

/**
 * Why nothing can be said of domains that are not known to use something. `not-yet`: they have not been read since
 * this agent began. `in-part`: the last survey was incomplete. `unreadable`: this host has a libvirt, or had one since
 * this agent began, and it could not be read.
 */
export type EvidenceGap = 'not-yet' | 'in-part' | 'unreadable';

/** What the domains of one survey use. */
interface Use {
  readonly byLeaf: ReadonlyMap<Leaf, readonly DomainUse[]>;
  /** By UUID: the leaves on which the domain names anything; null where it may name more than is known. */
  readonly byDomain: ReadonlyMap<string, ReadonlySet<Leaf> | null>;
}

/** The evidence that this agent has heard. */
export class Evidence {
  readonly #state: State;
  readonly #clock: Clock;
  readonly #policy: EvidencePolicy | null;
  /** By the record itself: one that is written anew begins anew. */
  #rows = new Map<HoldRecord | AttachmentRecord, Row>();
  #known: Exclude<DomainKnowledge, 'off'> = 'unknown';
  /** The use in the last survey that there was. */
  #use: Use = useOf([]);
  /** Whether domains were read at all, complete or not, since this agent began. */
  #wasRead = false;
  #markHeard: () => void = () => undefined;
  readonly #heard: Promise<void>;
  #isHeard = false;

  /** `policy` null: nobody reads domains. */
  constructor(state: State, clock: Clock, policy: EvidencePolicy | null) {
    this.#state = state;
    this.#clock = clock;
    this.#policy = policy;
    this.#heard = new Promise((resolve) => (this.#markHeard = resolve));
  }

  /** What the last survey was. */
  get known(): DomainKnowledge {
    return this.#policy === null ? 'off' : this.#known;
  }

  /** Weighs a survey; null: there is none. */
  take(survey: Survey | null): void {
    this.#known = survey === null ? 'unknown' : survey.complete ? 'complete' : 'incomplete';
    const use = useOf(survey?.domains ?? []);
    if (survey !== null) {
      this.#use = use;
      this.#wasRead = true;
    }
    this.#isHeard = true;
    this.#markHeard();
    const rows = new Map<HoldRecord | AttachmentRecord, Row>();
    const weigh = (record: HoldRecord | AttachmentRecord, finding: Row['finding'] | null): void => {
      const row = this.#next(this.#rows.get(record), finding);
      if (row !== null) rows.set(record, row);
    };
    for (const hold of this.#state.holds.values()) weigh(hold, use.byLeaf.has(hold.leaf) ? null : 'idle');
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

  /** The domains that name something on the leaf, in the last survey that there was. */
  usersOf(leaf: Leaf): readonly DomainUse[] {
    return this.#use.byLeaf.get(leaf) ?? [];
  }

  /** Why {@link usersOf} may not tell of all; null: it tells of all, or domains are none of this host's business. */
  get gap(): EvidenceGap | null {
    if (this.#policy === null || this.#known === 'complete') return null;
    if (this.#known === 'incomplete') return 'in-part';
    if (!this.#isHeard) return 'not-yet';
    return this.#policy.isExpected() || this.#wasRead ? 'unreadable' : null;
  }

  /** Waits until the domains have been read for the first time, or could not be, at most `ms`. */
  async hear(ms: number): Promise<void> {
    if (this.#policy === null || this.#isHeard) return;
    await within(this.#clock, this.#heard, ms);
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

function useOf(domains: readonly Domain[]): Use {
  const byLeaf = new Map<Leaf, DomainUse[]>();
  const byDomain = new Map<string, Set<Leaf> | null>();
  for (const domain of domains) {
    const { uuid, name, running } = domain;
    const leaves = new Set<Leaf>();
    byDomain.set(uuid, domain.unknown === undefined ? leaves : null);
    for (const [leaf, files] of filesOnLeaves([...filesOf(domain), ...domain.remembered])) {
      const users = byLeaf.get(leaf) ?? [];
      byLeaf.set(leaf, users);
      users.push({ uuid, name, running, files: [...files] });
      leaves.add(leaf);
    }
  }
  return { byLeaf, byDomain };
}

/**
 * Null where the attachment is used, or where no domain is to be expected. A domain that names another file on the
 * leaf uses it: an external snapshot, a block pull and a block commit give a guest's disk another name, and nobody
 * tells us. One whose files are not all known may use it.
 */
function orphanhoodIn({ byDomain }: Use, { consumer, leaf, disk }: AttachmentRecord): Orphanhood | null {
  const uuid = domainOf(consumer);
  if (uuid === null) return null;
  const leaves = byDomain.get(uuid);
  if (leaves === undefined) return 'no-domain';
  return disk === null || leaves === null || leaves.has(leaf) ? null : 'unused';
}

/** The UUID of the domain that is this consumer, or null. */
function domainOf(consumer: Consumer): string | null {
  const user = userOf(consumer);
  return user.startsWith('vm:') ? user.slice('vm:'.length) : null;
}

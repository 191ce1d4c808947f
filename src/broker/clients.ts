// What the broker knows of the clients of each leaf: the FUSE processes that serve, or served, a mount there. A client is
// written down before its helper is started, and again with each thing that is learnt of it, so that whoever comes after
// this process knows what it may not end. From a note that says less nothing is concluded. Nothing is decided here
// (client-states.ts).

import { z } from 'zod';
import type { Leaf } from '../core/volume.js';
import type { Notes, ProcessIdentity, Superblock } from '../sys/ports.js';
import { LeafNotes, type LeafPlace } from './leaf-notes.js';
import { type Generation, leafOfUnit } from './unit-names.js';

/** One client. */
export interface Client {
  /** Tells it from the others of its leaf. */
  readonly id: number;
  /** Which of the leaf's units its helper was started in; null: somebody else made the mount. */
  readonly generation: Generation | null;
  /** {@link Machine.uptime} when its helper was to be started, and the milliseconds that it was given. */
  readonly begun: number;
  readonly budgetMs: number;
  /** All superblocks that were there before it, until its own is known. Null: that is not known. */
  readonly earlier: readonly Superblock[] | null;
  /** The helper, where it was a child of ours; null: not yet known, or never. */
  readonly helper: ProcessIdentity | null;
  /** Nothing more is expected of the helper: its end was seen, or it is not waited for any more. */
  readonly isOver: boolean;
  /** What it serves, once that was seen. */
  readonly superblock: Superblock | null;
  /** Its superblock was proven dead: it serves nobody any more, whoever still has it open. */
  readonly isDead: boolean;
}

const superblock = z.strictObject({ dev: z.string(), record: z.string(), entry: z.string() });
const client = z.strictObject({
  id: z.int(),
  generation: z.int().min(1).nullable(),
  begun: z.number(),
  budgetMs: z.number(),
  earlier: z.array(superblock).nullable(),
  helper: z.strictObject({ pid: z.int(), began: z.string() }).nullable(),
  isOver: z.boolean(),
  superblock: superblock.nullable(),
  isDead: z.boolean(),
});

/** A client that was found, and of which nothing is known. */
const UNKNOWN: Omit<Client, 'id'> = {
  generation: null,
  begun: 0,
  budgetMs: 0,
  earlier: null,
  helper: null,
  isOver: true,
  superblock: null,
  isDead: false,
};

/** The clients of all leaves. */
export class Clients {
  readonly #notes: LeafNotes<readonly Client[]>;
  /** Clients whose helpers this process has started, and of which it has never seen that a superblock could be theirs. */
  readonly #neverServed = new Set<string>();
  #lastId = 0;

  constructor(notes: Notes, bootId: string) {
    this.#notes = new LeafNotes<readonly Client[]>(notes, bootId, 'clients', z.array(client));
  }

  /** The clients of a leaf, the latest last. */
  of(place: LeafPlace): readonly Client[] {
    return this.#notes.of(place) ?? [];
  }

  /** The leaves of this base that have clients. */
  leaves(base: string): readonly Leaf[] {
    return this.#notes.leaves(base);
  }

  /** What the clients of all other leaves, of any base, are known to serve or to have served. */
  servedElsewhere(place: LeafPlace): readonly Superblock[] {
    return this.#notes.besides(place).flatMap((known) => known.flatMap(({ superblock: one }) => one ?? []));
  }

  /**
   * Adds one, before its helper is started. Throws `resource-exhausted`, and has not added it, where it cannot be written
   * down: then nobody would know after a crash what its helper may serve.
   */
  begin(place: LeafPlace, facts: Omit<Client, 'id'>): Client {
    const added = { ...facts, id: this.#nextId(place) };
    this.#notes.write(place, [...this.of(place), added]);
    this.#neverServed.add(keyOf(place, added.id));
    return added;
  }

  /** Adds one whose mount somebody else made, or that was found. */
  find(place: LeafPlace, facts: Partial<Client>): void {
    this.#notes.keep(place, [...this.of(place), { ...UNKNOWN, ...facts, id: this.#nextId(place) }]);
  }

  /** Whether it is certain that the client has never served anybody. Of what an earlier process has started it never is. */
  neverServed(place: LeafPlace, id: number): boolean {
    return this.#neverServed.has(keyOf(place, id));
  }

  /** A superblock is there that may be the client's. */
  doubt(place: LeafPlace, id: number): void {
    this.#neverServed.delete(keyOf(place, id));
  }

  /** Takes down what was learnt of one. */
  learn(place: LeafPlace, id: number, facts: Partial<Omit<Client, 'id'>>): void {
    if (facts.superblock !== undefined) this.doubt(place, id);
    const learnt = facts.superblock === undefined ? facts : { ...facts, earlier: null };
    const known = this.of(place);
    if (known.length > 0)
      this.#notes.keep(
        place,
        known.map((one) => (one.id === id ? { ...one, ...learnt } : one)),
      );
  }

  /** Forgets one that is no more. */
  drop(place: LeafPlace, id: number): void {
    this.doubt(place, id);
    const left = this.of(place).filter((one) => one.id !== id);
    if (left.length === 0) this.#notes.drop(place);
    else this.#notes.keep(place, left);
  }

  /**
   * Takes in units that exist and of which nothing is written: nobody can say what they serve. A helper in one of them is
   * waited for as if it had begun now.
   */
  adopt(base: string, units: readonly string[], time: Pick<Client, 'begun' | 'budgetMs'>): void {
    for (const unit of units) {
      const found = leafOfUnit('mount', base, unit);
      if (found === null) continue;
      const place = { base, volume: { leaf: found.leaf } };
      if (this.of(place).some(({ generation }) => generation === found.generation)) continue;
      this.find(place, { generation: found.generation, ...time, isOver: false });
    }
  }

  /** Never one that another had before: whoever still looks at that one must not speak of this. */
  #nextId(place: LeafPlace): number {
    this.#lastId = 1 + Math.max(this.#lastId, ...this.of(place).map(({ id }) => id));
    return this.#lastId;
  }
}

function keyOf({ base, volume }: LeafPlace, id: number): string {
  return `${base}/${volume.leaf} ${id}`;
}

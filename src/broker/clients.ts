// What the broker knows of the clients of each leaf: the FUSE processes that serve, or served, a mount there. A client is
// written down before its helper is started, and again with each thing that is learnt of it, so that whoever comes after
// this process knows what it may not end. Nothing is decided here (client-states.ts).

import { z } from 'zod';
import { FairleadError } from '../core/errors.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Notes, ProcessIdentity, Superblock } from '../sys/ports.js';
import { leafOfUnit, unitKey, type Generation } from './unit-names.js';

/** One client. */
export interface Client {
  /** Tells it from the others of its leaf. */
  readonly id: number;
  /** Which of the leaf's units its helper was started in; null: somebody else made the mount. */
  readonly generation: Generation | null;
  /** {@link Machine.uptime} when its helper was to be started, and the milliseconds that it was given. */
  readonly begun: number;
  readonly budgetMs: number;
  /** Superblocks that may have been taken for its own, had they not been there before it. Null: that is not known. */
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
const note = z.strictObject({
  boot: z.string(),
  clients: z.array(
    z.strictObject({
      id: z.int(),
      generation: z.int().min(1).nullable(),
      begun: z.number(),
      budgetMs: z.number(),
      earlier: z.array(superblock).nullable(),
      helper: z.strictObject({ pid: z.int(), began: z.string() }).nullable(),
      isOver: z.boolean(),
      superblock: superblock.nullable(),
      isDead: z.boolean(),
    }),
  ),
});

/** What begins the name of a note about a leaf's clients. */
const PREFIX = 'clients-';

/** A leaf, as far as its clients are concerned. */
export interface ClientPlace {
  readonly base: string;
  readonly volume: Pick<Volume, 'leaf'>;
}

/** The clients of all leaves. */
export class Clients {
  readonly #notes: Notes;
  readonly #bootId: string;
  /** By the name of the note. In memory it is what is written, and what could not be written. */
  readonly #clients = new Map<string, readonly Client[]>();

  /** Reads what an earlier process has written in this boot; what is of another one, or cannot be read, is taken away. */
  constructor(notes: Notes, bootId: string) {
    this.#notes = notes;
    this.#bootId = bootId;
    for (const [name, text] of notes.all()) {
      if (!name.startsWith(PREFIX)) continue;
      const clients = this.#read(text);
      if (clients === null) notes.remove(name);
      else this.#clients.set(name, clients);
    }
  }

  /** The clients of a leaf, the latest last. */
  of(place: ClientPlace): readonly Client[] {
    return this.#clients.get(nameOf(place)) ?? [];
  }

  /** The leaves of this base that have clients. */
  leaves(base: string): readonly Leaf[] {
    const start = `${PREFIX}${unitKey(base)}-`;
    return [...this.#clients.keys()]
      .filter((name) => name.startsWith(start))
      .map((name) => name.slice(start.length) as Leaf);
  }

  /**
   * Adds one, before its helper is started. Throws `resource-exhausted`, and has not added it, where it cannot be written
   * down: then nobody would know after a crash what its helper may serve.
   */
  begin(place: ClientPlace, client: Omit<Client, 'id'>): Client {
    const added = { ...client, id: this.#nextId(place) };
    const clients = [...this.of(place), added];
    try {
      this.#write(place, clients);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      throw new FairleadError(
        'resource-exhausted',
        'The run directory takes nothing more. Make room on its filesystem.',
        {
          field: 'run_dir',
          leaf: place.volume.leaf,
          cause: error,
        },
      );
    }
    this.#clients.set(nameOf(place), clients);
    return added;
  }

  /** Adds one whose mount somebody else made, or that was found. Written down where that is possible. */
  find(place: ClientPlace, facts: Partial<Client>): Client {
    const found = { ...UNKNOWN, ...facts, id: this.#nextId(place) };
    this.#put(place, [...this.of(place), found]);
    return found;
  }

  /**
   * Takes down what was learnt of one. Where it cannot be written it is known to this process alone: the older note says
   * less, and from less nothing is concluded.
   */
  learn(place: ClientPlace, id: number, facts: Partial<Omit<Client, 'id'>>): void {
    this.#put(
      place,
      this.of(place).map((one) => (one.id === id ? { ...one, ...facts } : one)),
    );
  }

  /** Forgets one that is no more. */
  drop(place: ClientPlace, id: number): void {
    this.#put(
      place,
      this.of(place).filter((one) => one.id !== id),
    );
  }

  /** Takes in units that exist and of which nothing is written: nobody can say what they serve. */
  adopt(base: string, units: readonly string[]): void {
    for (const unit of units) {
      const found = leafOfUnit('mount', base, unit);
      if (found === null) continue;
      const place = { base, volume: { leaf: found.leaf } };
      if (this.of(place).some(({ generation }) => generation === found.generation)) continue;
      this.find(place, { generation: found.generation });
    }
  }

  #nextId(place: ClientPlace): number {
    return 1 + Math.max(0, ...this.of(place).map(({ id }) => id));
  }

  #put(place: ClientPlace, clients: readonly Client[]): void {
    const name = nameOf(place);
    if (clients.length === 0) {
      this.#clients.delete(name);
      this.#notes.remove(name);
      return;
    }
    this.#clients.set(name, clients);
    try {
      this.#write(place, clients);
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  #write(place: ClientPlace, clients: readonly Client[]): void {
    this.#notes.write(nameOf(place), JSON.stringify({ boot: this.#bootId, clients }));
  }

  #read(text: string): readonly Client[] | null {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return null;
    }
    const parsed = note.safeParse(value);
    return parsed.success && parsed.data.boot === this.#bootId ? parsed.data.clients : null;
  }
}

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

function nameOf({ base, volume }: ClientPlace): string {
  return `${PREFIX}${unitKey(base)}-${volume.leaf}`;
}

/** A failure of the filesystem (full, read-only …), as opposed to a defect of ours. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error;
}

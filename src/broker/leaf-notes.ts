// Notes about leaves, of one kind: what the broker must still know of a leaf after its own death. In memory they are what
// is written, and what could not be written. A note of another boot, or one that cannot be read, is taken away.

import { z } from 'zod';
import { FairleadError } from '../core/errors.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Notes } from '../sys/ports.js';
import { unitKey } from './unit-names.js';

/** A leaf, as far as notes are concerned. */
export interface LeafPlace {
  readonly base: string;
  readonly volume: Pick<Volume, 'leaf'>;
}

/** The notes of one kind. */
export class LeafNotes<T> {
  readonly #notes: Notes;
  readonly #bootId: string;
  readonly #kind: string;
  readonly #known = new Map<string, T>();

  /** Reads what an earlier process has written. `kind` begins the names of the notes, `schema` is what they hold. */
  constructor(notes: Notes, bootId: string, kind: string, schema: z.ZodType<T>) {
    this.#notes = notes;
    this.#bootId = bootId;
    this.#kind = kind;
    const form = z.strictObject({ boot: z.literal(bootId), content: schema });
    for (const [name, text] of notes.all()) {
      if (!name.startsWith(`${kind}-`)) continue;
      const read = form.safeParse(parsed(text));
      if (read.success) this.#known.set(name, read.data.content);
      else notes.remove(name);
    }
  }

  /** The note about a leaf. */
  of(place: LeafPlace): T | undefined {
    return this.#known.get(this.#nameOf(place));
  }

  /** The leaves of this base that have a note. */
  leaves(base: string): readonly Leaf[] {
    const start = `${this.#kind}-${unitKey(base)}-`;
    return [...this.#known.keys()]
      .filter((name) => name.startsWith(start))
      .map((name) => name.slice(start.length) as Leaf);
  }

  /** The notes about all other leaves, of any base. */
  besides(place: LeafPlace): readonly T[] {
    const name = this.#nameOf(place);
    return [...this.#known].flatMap(([other, content]) => (other === name ? [] : [content]));
  }

  /** Writes a note, before the effect that it is about. Throws `resource-exhausted`, and nothing has changed, where it cannot. */
  write(place: LeafPlace, content: T): void {
    try {
      this.#write(place, content);
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
    this.#known.set(this.#nameOf(place), content);
  }

  /** Writes what was learnt. Where that is not possible this process alone knows it, and whoever comes next knows less. */
  keep(place: LeafPlace, content: T): void {
    this.#known.set(this.#nameOf(place), content);
    try {
      this.#write(place, content);
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  drop(place: LeafPlace): void {
    const name = this.#nameOf(place);
    if (this.#known.delete(name)) this.#notes.remove(name);
  }

  #write(place: LeafPlace, content: T): void {
    this.#notes.write(this.#nameOf(place), JSON.stringify({ boot: this.#bootId, content }));
  }

  #nameOf({ base, volume }: LeafPlace): string {
    return `${this.#kind}-${unitKey(base)}-${volume.leaf}`;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
}

/** A failure of the filesystem (full, read-only …), as opposed to a defect of ours. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error;
}

// Looking at other processes, which may end meanwhile, may not be ours to look at, or may hang on a server. Every
// look ends with what was read or with nothing, and it is remembered whether nothing has to mean that there was
// nothing.

import { HOLDER_LOOK_MS, MAX_HUNG_LOOKS } from '../core/limits.js';
import { errnoOf } from './libc/errors.js';
import { ENDED } from './process-files.js';
import { within } from './run.js';

/** The looks of one search. */
export class Looks {
  #complete = true;
  #hung = 0;

  /** Whether every look saw what there was. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Something was not looked at. */
  omit(): void {
    this.#complete = false;
  }

  /** What is read; undefined where whoever it is about has ended, or where it cannot be read. */
  take<T>(read: () => T, ended: readonly string[] = ENDED): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#failed(error, ended);
      return undefined;
    }
  }

  /** {@link take} for a look that may hang: it is made on another thread and given up after a while. */
  async takeInTime<T>(read: () => Promise<T>): Promise<T | undefined> {
    if (this.#hung >= MAX_HUNG_LOOKS) {
      this.omit();
      return undefined;
    }
    const looking = read().then(
      (value): { readonly value: T | undefined } => ({ value }),
      (error: unknown) => {
        this.#failed(error, ENDED);
        return { value: undefined };
      },
    );
    const looked = await within(looking, HOLDER_LOOK_MS);
    if (looked !== undefined) return looked.value;
    this.omit();
    this.#hung += 1;
    void looking.finally(() => (this.#hung -= 1));
    return undefined;
  }

  #failed(error: unknown, ended: readonly string[]): void {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    if (!ended.includes(errno)) this.omit();
  }
}

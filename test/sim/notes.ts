// The simulated run directory, as far as the broker keeps notes there: they outlive every life of it, and end with the boot.

import type { Notes } from '../../src/sys/ports.js';
import type { Life } from './scheduler.js';

/** What is written there. */
export class NoteStore {
  /** Nothing more can be written while this is true. */
  full = false;
  readonly #texts = new Map<string, string>();

  /** Called with what is written. */
  written: (text: string) => void = () => undefined;
  /** Whether all that was to be written in this boot is there, or was: nothing was refused, and nobody has cleaned up. */
  isWhole = true;

  get names(): readonly string[] {
    return [...this.#texts.keys()];
  }

  lose(): void {
    this.#texts.clear();
    this.isWhole = false;
  }

  reboot(): void {
    this.isWhole = true;
    this.#texts.clear();
  }

  /** The port that one life of the broker sees. */
  port(life: Life): Notes {
    return {
      all: () => new Map(this.#texts),
      write: (name, text) => {
        if (this.full) {
          this.isWhole = false;
          throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        }
        if (!life.alive) return;
        this.#texts.set(name, text);
        this.written(text);
      },
      remove: (name) => {
        if (life.alive) this.#texts.delete(name);
      },
    };
  }
}

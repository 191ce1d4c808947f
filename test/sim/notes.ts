// The simulated run directory, as far as the broker keeps notes there: they outlive every life of it, and end with the boot.

import type { Notes } from '../../src/sys/ports.js';
import type { Life } from './scheduler.js';

/** What is written there. */
export class NoteStore {
  /** Nothing more can be written while this is true. */
  full = false;
  readonly #texts = new Map<string, string>();

  reboot(): void {
    this.#texts.clear();
  }

  /** The port that one life of the broker sees. */
  port(life: Life): Notes {
    return {
      all: () => new Map(this.#texts),
      write: (name, text) => {
        if (this.full) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        if (life.alive) this.#texts.set(name, text);
      },
      remove: (name) => {
        if (life.alive) this.#texts.delete(name);
      },
    };
  }
}

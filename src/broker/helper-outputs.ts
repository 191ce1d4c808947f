// What helpers of late have said, for root alone: most of it is shown to nobody else. In memory only, a bounded number of leaves,
// redacted and escaped as a second line of defence. See core/helper-output.ts for what everybody may see.

import { shownOutput } from '../core/helper-output.js';
import { MAX_KEPT_HELPER_OUTPUTS } from '../core/limits.js';
import { redact } from '../core/secrets.js';
import type { Leaf } from '../core/volume.js';
import type { Place } from './place.js';

/** See the file's head. */
export class HelperOutputs {
  /** The latest output by leaf; the one kept longest is first. */
  readonly #kept = new Map<Leaf, string>();

  /** Keeps what the helper of a leaf said, and gives back what of it everybody may see. */
  keep({ volume: { leaf }, mountpoint }: Place, output: string): string {
    this.#kept.delete(leaf);
    this.#kept.set(leaf, redact(output.trimEnd(), []));
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT_HELPER_OUTPUTS) break;
      this.#kept.delete(oldest);
    }
    return shownOutput(output, mountpoint);
  }

  /** All that the latest helper of the leaf said, as one escaped line; null: nothing is known. */
  of(leaf: Leaf): string | null {
    return this.#kept.get(leaf) ?? null;
  }
}

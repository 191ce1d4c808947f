// Does what the evidence allows, where the policy wants it: lifts holds that nobody needs, ends attachments whose domain has gone. What it
// lets go, the caretaker unmounts, and never from under anybody: a mount that some process still holds stays as it is.

import { FairleadError } from '../core/errors.js';
import { HOLDERS_BUDGET_MS } from '../core/limits.js';
import type { AttachmentRecord, HoldRecord } from '../core/records.js';
import type { Volume } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import type { Context } from './context.js';
import { letGo } from './disconnect.js';

/** Leaves whose holders are looked for at the same time. */
const LOOKS_AT_ONCE = 2;
/** Milliseconds for one such look, the wait for others' included. */
const HOLDERS_WAIT_MS = 2 * HOLDERS_BUDGET_MS;

/** A conclusion to be acted upon. */
type Conclusion =
  | { readonly kind: 'hold'; readonly hold: HoldRecord; readonly volume: Volume }
  | { readonly kind: 'orphan'; readonly attachment: AttachmentRecord; readonly volume: Volume };

/** Acts on what the evidence says. */
export class Conclusions {
  readonly #context: Context;
  readonly #caretaker: Caretaker;
  #drawing = false;

  constructor(context: Context, caretaker: Caretaker) {
    this.#context = context;
    this.#caretaker = caretaker;
  }

  /** Does in the background what can be done now; the rest waits for the next survey. */
  draw(): void {
    const queue = this.#ripe();
    if (this.#drawing || queue.length === 0) return;
    this.#drawing = true;
    const next = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined && !this.#isStopping(); one = queue.shift()) {
        await this.#attempt(one);
      }
    };
    const work = Promise.all(Array.from({ length: LOOKS_AT_ONCE }, next));
    void this.#context.track(work).finally(() => (this.#drawing = false));
  }

  #ripe(): Conclusion[] {
    const { state, evidence, ports } = this.#context;
    const policy = ports.settings.evidence;
    const found: Conclusion[] = [];
    // Where records may be missing, a hold may stand for somebody whom no domain tells of.
    if (policy?.liftHolds === 'evidence' && !state.isDoubted) {
      for (const hold of state.holds.values()) {
        const volume = state.mounts.get(hold.leaf)?.volume;
        if (volume !== undefined && evidence.isIdle(hold)) found.push({ kind: 'hold', hold, volume });
      }
    }
    if (policy?.orphans === 'release') {
      for (const attachment of state.attachments()) {
        const volume = state.mounts.get(attachment.leaf)?.volume;
        const isOrphan = evidence.orphanhoodOf(attachment) !== null;
        if (volume !== undefined && isOrphan) found.push({ kind: 'orphan', attachment, volume });
      }
    }
    return found;
  }

  async #attempt(conclusion: Conclusion): Promise<void> {
    const { ports, locks } = this.#context;
    const { leaf } = conclusion.volume;
    try {
      if (await this.#isHeld(conclusion)) return;
      // Whoever has the lock is at work here, so somebody wants something of the mount.
      const unlock = locks.tryAcquire(leaf);
      if (unlock === null) return;
      try {
        if (!this.#isStopping()) await this.#carryOut(conclusion);
      } finally {
        unlock();
      }
    } catch (error) {
      ports.log.warn('conclusion-not-drawn', { leaf, error });
    }
  }

  #isStopping(): boolean {
    return this.#context.stopping.signal.aborted;
  }

  /**
   * Whether somebody holds what would be let go, or nobody can tell, as after a search that was cut short. Copies in
   * other mount namespaces that nobody uses do not count: every service with a sandbox has one of each mount.
   */
  async #isHeld({ kind, volume }: Conclusion): Promise<boolean> {
    const { state, ports } = this.#context;
    if (kind === 'orphan' && !isLast(state.attachmentsOf(volume.leaf).length, state.holds.has(volume.leaf))) {
      return false;
    }
    try {
      const { holders, complete } = await ports.broker.holders(volume, HOLDERS_WAIT_MS);
      return !complete || holders.some(({ by }) => by !== 'namespace');
    } catch (error) {
      if (!(error instanceof FairleadError)) throw error;
      return true;
    }
  }

  /** Under the lock, and only if the conclusion still stands. */
  async #carryOut(conclusion: Conclusion): Promise<void> {
    const { state, evidence, ports } = this.#context;
    const { volume } = conclusion;
    const { leaf } = volume;
    if (conclusion.kind === 'hold') {
      if (state.holds.get(leaf) !== conclusion.hold || !evidence.isIdle(conclusion.hold)) return;
      await letGo(this.#context, this.#caretaker, volume, { kind: 'lift-hold', leaf });
      ports.log.info('hold-lifted', { leaf, by: 'evidence' });
      return;
    }
    const { attachment } = conclusion;
    const { id, consumer, disk } = attachment;
    const orphan = evidence.orphanhoodOf(attachment);
    if (orphan === null || state.findAttachment(leaf, consumer, disk) !== attachment) return;
    await letGo(this.#context, this.#caretaker, volume, { kind: 'end-attachment', id });
    ports.log.info('orphan-released', { leaf, consumer, orphan });
  }
}

function isLast(attachments: number, isHeld: boolean): boolean {
  return attachments === 1 && !isHeld;
}

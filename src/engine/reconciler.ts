// Reconciliation at start: what the ledger remembers meets what the world shows, leaf by leaf, each under its lock. What
// was open is resumed, undone or rolled forward by core/recover.ts; what nobody recorded is kept with a hold.

import { FairleadError } from '../core/errors.js';
import { RETRY_FIRST_MS, RETRY_LAST_MS } from '../core/limits.js';
import { remedyFor } from '../core/recover.js';
import type { Inventory } from '../core/broker-api.js';
import type { LedgerSnapshot } from '../core/records.js';
import type { InventoryItem } from '../core/observation.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { ensureUsable } from './ensure.js';
import type { Unlock } from './locks.js';
import { closing, letGo, NOBODY, type Releaser } from './release.js';
import { settle } from './settle.js';

/** Milliseconds for one look at the whole host. */
const INVENTORY_BUDGET_MS = 30_000;
/** Milliseconds for putting one leaf in order. */
const LEAF_BUDGET_MS = 120_000;
/** Leaves without an open operation that are put in order at the same time. */
const LEAVES_AT_ONCE = 32;

/** Puts the world in order once, after a start. */
export class Reconciler {
  readonly #context: Context;
  readonly #releaser: Releaser;
  #done = false;
  #setAside: LedgerSnapshot['setAside'] = [];

  constructor(context: Context, releaser: Releaser) {
    this.#context = context;
    this.#releaser = releaser;
  }

  /** True when everything that was open at the start has been worked off or is being worked off in the background. */
  get done(): boolean {
    return this.#done;
  }

  /** Records that the ledger could not read back. */
  get setAside(): LedgerSnapshot['setAside'] {
    return this.#setAside;
  }

  /**
   * Loads the ledger, takes the locks of all leaves with open operations (so that no request comes before them), and
   * goes on in the background. Resolves when requests may come.
   */
  async start(): Promise<void> {
    const { state, ports, locks } = this.#context;
    const snapshot = await ports.ledger.load();
    state.restore(snapshot);
    this.#setAside = snapshot.setAside;
    if (snapshot.origin !== 'existing') ports.log.warn('ledger-begun-anew', { origin: snapshot.origin });
    const open = new Map<Leaf, Unlock>();
    for (const leaf of state.operations.keys()) open.set(leaf, await locks.acquire(leaf));
    void this.#work(open);
  }

  async #work(open: Map<Leaf, Unlock>): Promise<void> {
    const { stopping, ports, state } = this.#context;
    try {
      const inventory = await this.#inventory();
      const found = new Map(inventory.items.map((item) => [item.leaf, item]));
      const volumes = this.#volumes(found);
      // What was open may be stuck for long, so each of these has a task of its own; the rest share a few.
      const settling = [...volumes.values()]
        .filter(({ leaf }) => open.has(leaf))
        .map((volume) => this.#reconcile(volume, open));
      const queue = [...volumes.values()].filter(({ leaf }) => !open.has(leaf));
      const next = async (): Promise<void> => {
        for (let volume = queue.shift(); volume !== undefined && !stopping.signal.aborted; volume = queue.shift()) {
          await this.#reconcile(volume, open);
        }
      };
      await Promise.all([...settling, ...Array.from({ length: LEAVES_AT_ONCE }, next)]);
      this.#done = true;
      ports.log.info('reconciled', { leaves: volumes.size, strangers: state.strangers.size });
    } catch (error) {
      ports.log.warn('reconciliation-ended', { error });
    } finally {
      for (const unlock of open.values()) unlock();
    }
  }

  async #inventory(): Promise<Inventory> {
    const { stopping, ports } = this.#context;
    for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_LAST_MS)) {
      this.#context.checkRunning();
      try {
        return await ports.broker.inventory(INVENTORY_BUDGET_MS);
      } catch (error) {
        if (!(error instanceof FairleadError)) throw error;
        ports.log.warn('waiting-for-the-broker', { code: error.code });
      }
      const woken = new AbortController();
      const forget = ports.broker.onConnect(() => woken.abort());
      await ports.clock.sleep(pause, AbortSignal.any([woken.signal, stopping.signal]));
      forget();
    }
  }

  /** Every volume that is recorded, or found mounted under a base with a name that its leaf proves. */
  #volumes(found: ReadonlyMap<Leaf, InventoryItem>): Map<Leaf, Volume> {
    const { state, ports } = this.#context;
    const volumes = new Map<Leaf, Volume>();
    for (const { volume } of state.operations.values()) volumes.set(volume.leaf, volume);
    for (const { volume } of state.mounts.values()) volumes.set(volume.leaf, volume);
    for (const item of found.values()) {
      if (volumes.has(item.leaf) || item.mounts.length === 0) continue;
      if (item.url !== undefined) volumes.set(item.leaf, ports.settings.parseVolume(item.url));
      else state.strangers.set(item.leaf, item);
    }
    return volumes;
  }

  async #reconcile(volume: Volume, open: Map<Leaf, Unlock>): Promise<void> {
    const { locks, ports } = this.#context;
    const { leaf } = volume;
    const unlock = open.get(leaf) ?? (await locks.acquire(leaf));
    open.delete(leaf);
    try {
      await this.#context.track(this.#putInOrder(volume));
    } catch (error) {
      ports.log.warn('leaf-not-reconciled', { leaf, error });
      if (!this.#context.state.isUsed(leaf)) this.#releaser.schedule(volume);
    } finally {
      unlock();
    }
  }

  async #putInOrder(volume: Volume): Promise<void> {
    const context = this.#context;
    const { state, ports } = context;
    const { leaf } = volume;
    const { bootId, onVanish } = ports.settings;
    if (state.operations.has(leaf)) await settle(context, volume);
    const deadline = new Deadline(ports.clock, LEAF_BUDGET_MS, context.stopping.signal);
    const observation = await context.observe(volume, 'read-only', deadline.remaining);
    const attachments = state.attachmentsOf(leaf).length;
    const record = state.mounts.get(leaf);
    const operation = state.operations.get(leaf);
    const remedy = remedyFor({
      record,
      operation,
      attachments,
      held: state.holds.has(leaf),
      observation,
      bootId,
      onVanish,
    });
    ports.log.info('remedy', { leaf, remedy });
    switch (remedy) {
      case 'keep':
      case 'report-vanished':
        await context.commit([...this.#mounted(volume), ...closing(context, volume)]);
        context.note(observation);
        return;
      case 'restore':
        await this.#restore(volume, deadline);
        return;
      case 'release': {
        const end = await letGo(context, volume, deadline, NOBODY);
        if (end.outcome === 'busy' || end.outcome === 'hung') this.#releaser.schedule(volume);
        return;
      }
      case 'hold': {
        const hold = { leaf, reason: 'inherited', since: ports.clock.date() } as const;
        await context.commit([...this.#mounted(volume), { kind: 'put-hold', hold }, ...closing(context, volume)]);
        context.note(observation);
        return;
      }
      case 'forget':
        await context.commit([
          { kind: 'forget-mount', leaf },
          ...(state.holds.has(leaf) ? [{ kind: 'lift-hold', leaf } as const] : []),
          ...closing(context, volume),
        ]);
        return;
    }
  }

  async #restore(volume: Volume, deadline: Deadline): Promise<void> {
    const context = this.#context;
    const access = context.state.attachmentsOf(volume.leaf).every(({ readOnly }) => readOnly)
      ? 'read-only'
      : 'read-write';
    try {
      await ensureUsable(context, volume, access, deadline, { isAnswered: () => false, failing: () => undefined });
      context.ports.reach('recover.verified');
    } finally {
      await context.commit([...this.#mounted(volume), ...closing(context, volume)]);
    }
  }

  #mounted(
    volume: Volume,
  ): readonly { readonly kind: 'put-mount'; readonly mount: { volume: Volume; state: 'mounted'; bootId: string } }[] {
    const { bootId } = this.#context.ports.settings;
    const record = this.#context.state.mounts.get(volume.leaf);
    if (record?.state === 'mounted' && record.bootId === bootId) return [];
    return [{ kind: 'put-mount', mount: { volume, state: 'mounted', bootId } }];
  }
}

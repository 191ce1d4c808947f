// Judges every effect on the world at the moment it is about to happen: I1 (never taken away), I7 (never outside, no
// stranger's thing touched) and I8 (once). What it knows comes from the world and from what clients were told, never
// from Fairlead's records.

import type { Volume } from '../../src/core/volume.js';
import type { History } from './history.js';
import { type Effect, type Kernel, type Making, type Mount, short } from './kernel.js';
import { isLiving, type ServerState, type Superblock } from './superblocks.js';
import type { Truth } from './truth.js';

/** Says that an invariant is broken. */
export type Fail = (invariant: string, what: string) => void;

/** Milliseconds within which the broker cannot have noticed what a stranger just did. */
const BLIND_MS = 60;
/** Milliseconds between the last look and umount2, which takes whatever is on top: a race that the kernel leaves open. */
const JUST_NOW_MS = 8;
/**
 * Milliseconds between the last look at the kernel's record and the SIGKILL that follows it: a superblock that is born in
 * between is in neither's power.
 */
const LOOK_TO_KILL_MS = 8;
/** Milliseconds between the last look at a leaf's copies and its rmdir. */
const LOOK_TO_RMDIR_MS = 8;
/** Milliseconds for which a proof that a server disowns its mount (ESTALE) may be acted upon. */
const STALE_PROOF_MS = 2000;

/** The judge of effects. */
export class EffectJudge {
  /** Mounts that are kept for a reason other than an attachment: a stranger made them, or the ledger was lost. */
  readonly kept = new Map<Mount, string>();
  /** Whether evidence from domains may have let a mount go that is kept. */
  mayGo: (mount: Mount) => boolean = () => false;
  /** Whether Fairlead can know that this one is there. */
  isKnowable: (superblock: Superblock) => boolean = () => true;
  /** Whether it was doubtful, at some moment since that step, if a superblock of the leaf is there. */
  isDoubtful: (mountPoint: string, step: number) => boolean = () => false;
  readonly #truth: Truth;
  readonly #histories: ReadonlyMap<string, History>;
  readonly #kernel: Kernel;
  readonly #bases: readonly string[];
  readonly #fail: Fail;
  readonly #now: () => number;

  constructor(
    truth: Truth,
    histories: ReadonlyMap<string, History>,
    kernel: Kernel,
    bases: readonly string[],
    fail: Fail,
    now: () => number,
  ) {
    this.#truth = truth;
    this.#histories = histories;
    this.#kernel = kernel;
    this.#bases = bases;
    this.#fail = fail;
    this.#now = now;
  }

  /** Called before each effect. */
  judge(effect: Effect): void {
    if (effect.by !== 'fairlead') return;
    switch (effect.kind) {
      case 'unmount':
        if (!this.#isAstray(effect.mount)) this.#inside(effect.mount.mountPoint, 'unmounted');
        this.#unmount(effect.mount, effect.mode);
        return;
      case 'mount':
        this.#inside(effect.mountPoint, 'mounted on');
        this.#mount(effect.mountPoint, effect.madeBy);
        return;
      case 'harden':
        this.#inside(effect.mount.mountPoint, 'changed');
        if (isForeign(effect.mount, this.#volumeAt(effect.mount.mountPoint))) {
          this.#fail('I7', `changed the attributes of a stranger's mount at ${short(effect.mount.mountPoint)}`);
        }
        return;
      case 'make-leaf':
        this.#inside(effect.path, effect.kind);
        return;
      case 'remove-leaf':
        this.#inside(effect.path, effect.kind);
        this.#removeLeaf(effect.path);
        return;
      case 'kill':
        this.#kill(effect);
        return;
      case 'start-helper':
        this.#inside(effect.mountPoint, 'started a helper for');
        this.#startHelper(effect.mountPoint);
        return;
      case 'server':
        this.#server(effect.superblock, effect.to);
        return;
    }
  }

  /** What looks like the mount of a helper that was led elsewhere, since no directory is at its leaf any more. */
  #isAstray({ superblock, mountPoint }: Mount): boolean {
    return superblock.home !== mountPoint && this.#histories.get(superblock.home)?.now.blocked === true;
  }

  #inside(path: string, did: string): void {
    const slash = path.lastIndexOf('/');
    const leaf = path.slice(slash + 1);
    if (!this.#bases.includes(path.slice(0, slash)) || !/^[0-9a-f]{32}$/.test(leaf)) {
      this.#fail('I7', `${did} ${path}, which is no leaf of ours`);
    }
  }

  #unmount(mount: Mount, mode: 'plain' | 'detach'): void {
    const where = short(mount.mountPoint);
    const state = mount.server?.state ?? 'answering';
    const volume = this.#volumeAt(mount.mountPoint);
    // What a stranger has laid over the dead mount this very moment is taken with the same call.
    const laidOver = mount.maker === 'stranger' && mount.placedAt >= this.#now() - JUST_NOW_MS;
    if (mode === 'detach' && state !== 'dead' && !laidOver)
      this.#fail('I1', `detached ${where} lazily although its server is ${state}`);
    if (isForeign(mount, volume) && mount.placedAt < this.#now() - JUST_NOW_MS) {
      this.#fail('I7', `unmounted a stranger's mount at ${where}`);
    }
    if (volume === null || mount.serves !== volume.export) return;
    if (this.#wasDead(mount)) return;
    const users = this.#liveUsers(volume);
    if (users.length > 0) this.#fail('I1', `unmounted ${where} (${state}) under ${users.join(' and ')}`);
    const reason = this.kept.get(mount);
    if (reason !== undefined && !this.mayGo(mount))
      this.#fail('I1', `unmounted ${where} (${state}), which is kept: ${reason}`);
  }

  /** Whether everybody may have seen the mount proven dead a moment ago. */
  #wasDead(mount: Mount): boolean {
    const state = mount.server?.state;
    if (state === 'dead' || state === 'stale') return true;
    const history = this.#histories.get(mount.mountPoint);
    return history?.within(STALE_PROOF_MS, (moment) => moment.server === 'stale') === true;
  }

  #mount(mountPoint: string, madeBy: Making | null): void {
    const top = this.#kernel.top(mountPoint);
    const volume = this.#volumeAt(mountPoint);
    if (top?.maker !== 'fairlead' || volume === null || top.serves !== volume.export) return;
    // What somebody has moved there since was not there when the helper was started.
    if (top.placedAt > top.bornAt && top.placedAt >= (madeBy?.at ?? 0)) return;
    // A helper that was given up is not ended where it may serve, or may have served, something: so it may mount, too.
    if ([madeBy, top.madeBy].some((helper) => helper !== null && this.#mayLive(helper, mountPoint))) return;
    this.#fail('I8', `mounted ${short(mountPoint)} twice`);
  }

  #mayLive({ isGivenUp, isOrphan, step }: Making, mountPoint: string): boolean {
    return isGivenUp && (isOrphan || this.isDoubtful(mountPoint, step));
  }

  #startHelper(mountPoint: string): void {
    const top = this.#kernel.top(mountPoint);
    if (top === undefined || top.placedAt > this.#now() - BLIND_MS) return;
    const volume = this.#volumeAt(mountPoint);
    if (isForeign(top, volume)) this.#fail('I7', `started a helper over a stranger's mount at ${short(mountPoint)}`);
    else this.#fail('I8', `started a helper for ${short(mountPoint)} although it is mounted`);
  }

  /** rmdir takes away what other namespaces have mounted on the directory. */
  #removeLeaf(path: string): void {
    const volume = this.#volumeAt(path);
    for (const { on, mount, madeAt, holder } of this.#kernel.users.copies) {
      if (on?.path !== path || on.isRemoved || mount.serves !== volume?.export || !isLiving(mount.superblock)) continue;
      // What no client serves is in no record: where no process lives in the namespace, it is not found.
      if (mount.superblock.kind === 'host' && holder === null) continue;
      if (madeAt >= this.#now() - LOOK_TO_RMDIR_MS || !this.isKnowable(mount.superblock)) continue;
      this.#fail('I1', `removed ${short(path)}, on which a namespace has a copy`);
    }
  }

  /** Nobody's data is lost by our hand: neither what is served, to whoever it is, nor what is still to be written back. */
  #kill({ superblock, writesBack, mountPoint }: Extract<Effect, { readonly kind: 'kill' }>): void {
    const where = short(mountPoint);
    if (writesBack) this.#fail('I1', `ended a client of ${where} while it wrote back`);
    if (superblock === null || !isLiving(superblock) || superblock.bornAt >= this.#now() - LOOK_TO_KILL_MS) return;
    const users = [...superblock.references].map(({ by }) => by);
    this.#fail('I1', `ended a client of ${where} while its superblock is there: ${users.join(', ')}`);
  }

  /** Cutting the connection of a mount takes the volume away just as well. */
  #server(superblock: Superblock, to: ServerState): void {
    const volume = this.#volumeAt(superblock.home);
    if (to === 'answering' || volume === null || superblock.serves !== volume.export || superblock.isGone) return;
    // A mount whose helper is not over has not been promised to anybody yet, and goes with its helper.
    const users = this.#liveUsers(volume).filter((key) =>
      this.#truth.callsOf(key).some((call) => call.end?.how === 'reply' && call.endedAt >= superblock.bornAt),
    );
    if (users.length > 0 && superblock.server?.state === 'answering') {
      this.#fail('I1', `killed the server of ${short(superblock.home)} under ${users.join(' and ')}`);
    }
  }

  #liveUsers(volume: Volume): readonly string[] {
    return this.#truth.keysOf(volume).filter((key) => this.#truth.certainty(key) === 'live');
  }

  #volumeAt(mountPoint: string): Volume | null {
    return this.#histories.get(mountPoint)?.volume ?? null;
  }
}

/** A mount that a stranger made and that is not the leaf's volume. */
export function isForeign(mount: Mount, volume: Volume | null): boolean {
  return mount.maker === 'stranger' && (volume === null || mount.serves !== volume.export);
}

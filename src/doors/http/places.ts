// Places for connections, or for requests: how many each user may have at once, so that none of them takes another's. Root has places of
// its own. Pure.

/** How many places there are. */
export interface PlaceLimits {
  /** Of root, whatever the others do. */
  readonly root: number;
  /** Of all other users together. */
  readonly others: number;
  /** Of one of them. */
  readonly each: number;
  /** Of `others`, those that are only given to users who have fewer than `few`. */
  readonly kept: number;
  readonly few: number;
}

/** Gives a place back. Calling it twice does nothing. */
export type Leave = () => void;

/** The places of one kind, and who has them. */
export class Places {
  readonly #limits: PlaceLimits;
  /** By uid. Nobody is in here who has none. */
  readonly #taken = new Map<number, number>();
  #others = 0;

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  /** A place for this user, or null if he may not have one more now. */
  take(uid: number): Leave | null {
    const mine = this.#taken.get(uid) ?? 0;
    if (!this.#mayHave(uid, mine)) return null;
    this.#set(uid, mine + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#set(uid, (this.#taken.get(uid) ?? 0) - 1);
    };
  }

  #mayHave(uid: number, mine: number): boolean {
    const { root, others, each, kept, few } = this.#limits;
    if (uid === 0) return mine < root;
    return mine < each && this.#others < (mine < few ? others : others - kept);
  }

  #set(uid: number, count: number): void {
    if (uid !== 0) this.#others += count - (this.#taken.get(uid) ?? 0);
    if (count === 0) this.#taken.delete(uid);
    else this.#taken.set(uid, count);
  }
}

// Answers that their clients have not read yet, in bytes of each user: while there are many, his next requests wait. Pure.

/** Bytes of unread answers by user. */
export class Unread {
  readonly #most: number;
  /** Nobody is in here who has read everything. */
  readonly #bytes = new Map<number, number>();
  readonly #waiting = new Map<number, (() => void)[]>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Counts bytes that were written, or less of them when they have left. */
  add(uid: number, bytes: number): void {
    const now = (this.#bytes.get(uid) ?? 0) + bytes;
    if (now === 0) this.#bytes.delete(uid);
    else this.#bytes.set(uid, now);
    while (this.#isFew(uid)) {
      const next = this.#waiting.get(uid)?.shift();
      if (next === undefined) {
        this.#waiting.delete(uid);
        return;
      }
      next();
    }
  }

  /** Does the work now, or as soon as this user has read enough. */
  whenFew(uid: number, work: () => void): void {
    if (this.#isFew(uid)) {
      work();
      return;
    }
    const waiting = this.#waiting.get(uid);
    if (waiting === undefined) this.#waiting.set(uid, [work]);
    else waiting.push(work);
  }

  #isFew(uid: number): boolean {
    return (this.#bytes.get(uid) ?? 0) < this.#most;
  }
}

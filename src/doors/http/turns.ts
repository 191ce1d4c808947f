// Turns: which of the requests that have come is begun next. Root's come first, then one of each other user after the other, and between
// two rounds the event loop looks at everything else. So whatever one user sends, nobody waits for more than a round.

/** Milliseconds of one round that root's requests may take, and as many that all others may; one of each kind is always begun. */
const ROUND_MS = 2;

type Work = () => void;

/** Who waits for a turn. */
export class Turns {
  readonly #root: Work[] = [];
  /** By uid, in the order in which they are served. Nobody is in here who waits for nothing. */
  readonly #others = new Map<number, Work[]>();
  #isScheduled = false;

  /** Has the work begun at this user's turn. It must not throw. */
  ask(uid: number, work: Work): void {
    if (uid === 0) this.#root.push(work);
    else {
      const mine = this.#others.get(uid);
      if (mine === undefined) this.#others.set(uid, [work]);
      else mine.push(work);
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      runFor(ROUND_MS, () => this.#root.shift());
      runFor(ROUND_MS, () => this.#nextOther());
      if (this.#root.length > 0 || this.#others.size > 0) this.#schedule();
    });
  }

  /** The first of the user who is next; whoever has more goes to the end of the row. */
  #nextOther(): Work | undefined {
    const [first] = this.#others;
    if (first === undefined) return undefined;
    const [uid, waiting] = first;
    const work = waiting.shift();
    this.#others.delete(uid);
    if (waiting.length > 0) this.#others.set(uid, waiting);
    return work;
  }
}

function runFor(ms: number, next: () => Work | undefined): void {
  const end = performance.now() + ms;
  do {
    const work = next();
    if (work === undefined) return;
    work();
  } while (performance.now() < end);
}

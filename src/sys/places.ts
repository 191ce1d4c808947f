// A number of places for work that must not all go on at the same time. Who finds none waits for one, first come first
// served, as long as he may.

/** See the file's head. */
export class Places {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Takes a place; false if there was none within `ms`. */
  take(ms: number): Promise<boolean> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const granted = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(granted);
        resolve(false);
      }, ms);
      this.#waiting.add(granted);
    });
  }

  /** Gives a place back, to whoever waits longest. */
  give(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

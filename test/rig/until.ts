// Waiting, the only way tests wait: for a condition, with a deadline, never for a guess.

/** Milliseconds between two looks. */
const LOOK_MS = 10;

/** The first value of `look` that is neither false nor undefined; fails with `what` when the deadline passes first. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = 10_000,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > end) throw new Error(`not seen within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

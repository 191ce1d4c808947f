// What is measured, in which order and how often. Pure. The order within a round is what makes figures comparable: the
// subjects take turns in every round, so that whatever disturbs the machine disturbs all of them alike.

/** Conditions under which everything is measured. */
export interface Cell {
  /** Mounts on the host besides those that are measured. */
  readonly mounts: number;
  /** Jobs at the same time; 1: one after the other. */
  readonly concurrency: number;
  /** Milliseconds that the mount helper takes longer than it must. */
  readonly helperMs: number;
  readonly rounds: number;
  /** How often each mounted volume is connected in a round. */
  readonly repeats: number;
}

/** How thorough a run is. */
export type Extent = 'full' | 'quick';

/** The cells, those with fewer mounts first, since mounts are only ever added. */
export function cellsOf(extent: Extent): readonly Cell[] {
  if (extent === 'quick') {
    return [
      { mounts: 5, concurrency: 1, helperMs: 0, rounds: 2, repeats: 2 },
      { mounts: 5, concurrency: 4, helperMs: 50, rounds: 2, repeats: 1 },
    ];
  }
  return [20, 200, 1000].flatMap((mounts) => [
    { mounts, concurrency: 1, helperMs: 0, rounds: 25, repeats: 4 },
    { mounts, concurrency: 32, helperMs: 0, rounds: 5, repeats: 1 },
    { mounts, concurrency: 1, helperMs: 200, rounds: 10, repeats: 1 },
    { mounts, concurrency: 32, helperMs: 200, rounds: 3, repeats: 1 },
  ]);
}

/** `items` in the order of a round: each time another one begins. */
export function turns<T>(items: readonly T[], round: number): readonly T[] {
  const first = round % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

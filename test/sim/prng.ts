// The simulation's only source of chance: a small generator that a seed fixes completely. Nothing in test/sim may ask
// Math.random, the time of day or the machine for a decision, or a failing seed would not replay.

/** Seeded chance. */
export interface Chance {
  /** A number in [0, 1). */
  next(): number;
  /** An integer in [from, to], both included. */
  int(from: number, to: number): number;
  /** True in `share` of the cases. */
  once(share: number): boolean;
  pick<T>(items: readonly T[]): T;
  /** One of the names, as often as its weight says; weights need not add up to anything. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K;
  /** A generator of its own, so that one part drawing more does not shift what another draws. */
  fork(): Chance;
}

/** The generator for a seed (sfc32 by Chris Doty-Humphrey, seeded through splitmix32). */
export function chanceOf(seed: number): Chance {
  let state = seed | 0;
  const split = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let a = split();
  let b = split();
  let c = split();
  let counter = 1;
  const word = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return t >>> 0;
  };
  for (let round = 0; round < 12; round += 1) word();
  const chance: Chance = {
    next: () => word() / 4294967296,
    int: (from, to) => from + Math.floor((word() / 4294967296) * (to - from + 1)),
    once: (share) => word() / 4294967296 < share,
    pick: (items) => {
      if (items.length === 0) throw new RangeError('nothing to pick from');
      return items[Math.floor((word() / 4294967296) * items.length)]!;
    },
    weighted: <K extends string>(weights: Readonly<Record<K, number>>) => {
      const names = Object.keys(weights) as K[];
      const total = names.reduce((sum, name) => sum + weights[name], 0);
      let rest = (word() / 4294967296) * total;
      for (const name of names) {
        rest -= weights[name];
        if (rest < 0) return name;
      }
      return names[names.length - 1]!;
    },
    fork: () => chanceOf(word()),
  };
  return chance;
}

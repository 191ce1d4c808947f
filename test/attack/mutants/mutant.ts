// What a mutant is: an original defect, put back into the source as text.

/** One defect to put back, and who must notice. */
export interface Mutant {
  /** What is wrong with it, in a few words. */
  readonly name: string;
  /** The claims of the reviews (claims.json) that it makes true again; empty where no review named the defect. */
  readonly claims: readonly string[];
  readonly file: string;
  /** Where its catchers run: `real` mounts, and needs root. */
  readonly project: 'fast' | 'real';
  /** Stands exactly once in the file. */
  readonly from: string;
  readonly to: string;
  /** Tests that must fail, by their titles as they stand in the file: each of them, in at least one of its cases. */
  readonly caughtBy: readonly Catcher[];
}

/** One test. */
export interface Catcher {
  readonly file: string;
  readonly test: string;
}

/** Catchers of one file. */
export function by(file: string, ...tests: readonly string[]): readonly Catcher[] {
  return tests.map((test) => ({ file, test }));
}

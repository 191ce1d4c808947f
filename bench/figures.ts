// What comes out: one JSON object a figure. Pure.

import { ratios, summarise, type Summary } from './statistics.js';
import type { Cell } from './plan.js';
import type { SubjectName } from './subjects.js';

/**
 * What was timed. `connect-cold`: the volume is not mounted. `connect-mounted`: it is, and another instance comes.
 * `connect-again`: the same instance comes again. `connect-shared`: all at once come to one mounted volume.
 * `disconnect-shared`: others still use it. `disconnect`: the last one goes. `probe`: a bare statfs of a mounted volume.
 * With `-all`: from the first call to the last answer.
 */
export type Timed =
  | 'connect-cold'
  | 'connect-mounted'
  | 'connect-again'
  | 'connect-shared'
  | 'disconnect-shared'
  | 'disconnect'
  | 'probe';
/** See {@link Timed}. */
export type FigureName = Timed | `${Timed}-all`;

interface Under {
  readonly mounts: number;
  readonly concurrency: number;
  readonly helperMs: number;
}

/** Milliseconds that something took. */
export interface Figure extends Under, Summary {
  readonly name: FigureName;
  readonly subject: SubjectName;
  readonly unit: 'ms';
}

/** How many times as long as `subject` `to` took, round by round. */
export interface Ratio extends Under, Summary {
  readonly name: 'ratio';
  readonly figure: FigureName;
  readonly subject: SubjectName;
  readonly to: SubjectName;
  readonly unit: 'times';
}

/** Everything that was measured of one figure in one cell: by subject, round by round, in milliseconds. */
export class Measured {
  readonly #cell: Cell;
  readonly #rounds = new Map<FigureName, Map<SubjectName, number[][]>>();

  constructor(cell: Cell) {
    this.#cell = cell;
  }

  add(name: FigureName, subject: SubjectName, round: number, ms: readonly number[]): void {
    const subjects = this.#rounds.get(name) ?? new Map<SubjectName, number[][]>();
    this.#rounds.set(name, subjects);
    const rounds = subjects.get(subject) ?? [];
    subjects.set(subject, rounds);
    (rounds[round] ??= []).push(...ms);
  }

  figures(): readonly Figure[] {
    return this.#each((name, subject, rounds) => [
      { name, subject, ...this.#under(), ...summarise(rounds.flat()), unit: 'ms' },
    ]);
  }

  /** Each subject beside Nova's own driver and beside the bare helpers, where both did the same. */
  ratios(): readonly Ratio[] {
    return this.#each((figure, subject, rounds) =>
      (['nova-own', 'bare'] as const).flatMap((to): Ratio[] => {
        const others = this.#rounds.get(figure)?.get(to);
        if (to === subject || others === undefined) return [];
        const each = ratios(rounds, others);
        if (each.length === 0) return [];
        return [{ name: 'ratio', figure, subject, to, ...this.#under(), ...summarise(each), unit: 'times' }];
      }),
    );
  }

  #under(): Under {
    const { mounts, concurrency, helperMs } = this.#cell;
    return { mounts, concurrency, helperMs };
  }

  #each<T>(take: (name: FigureName, subject: SubjectName, rounds: readonly (readonly number[])[]) => T[]): T[] {
    return [...this.#rounds].flatMap(([name, subjects]) =>
      [...subjects].flatMap(([subject, rounds]) => take(name, subject, rounds)),
    );
  }
}

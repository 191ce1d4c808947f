// The simulation itself: thousands of seeds of the real engine, broker and ledger in a simulated world. A failing seed
// prints itself and how to replay it with its whole trace:
//
//   FAIRLEAD_SIM_SEED=123 npx vitest run --project sim test/sim/simulation.test.ts
//
// FAIRLEAD_SIM_SEEDS says how many seeds (2000), FAIRLEAD_SIM_FIRST where to begin (1), FAIRLEAD_SIM_PROFILE which profile.

import { describe, expect, it } from 'vitest';
import { AGENT_POINTS, BROKER_POINTS } from '../../src/core/journal.js';
import { realOptions } from './makers.js';
import { simulate, type Result } from './simulate.js';

/** Seeds in one test. */
const CHUNK = 100;
/** Seeds after which everything that can be met must have been met. */
const MANY = 1500;
const one = process.env['FAIRLEAD_SIM_SEED'];
const count = Number(process.env['FAIRLEAD_SIM_SEEDS'] ?? 2000);
const first = Number(process.env['FAIRLEAD_SIM_FIRST'] ?? 1);
const profile = process.env['FAIRLEAD_SIM_PROFILE'];
const options = (trace: 'lines' | 'hash-only'): Parameters<typeof simulate>[1] => ({
  ...realOptions(trace),
  ...(profile === undefined ? {} : { profile }),
});

// A replay is asked for by name and is then all there is, so that no run has a test that it skips.
if (one !== undefined) {
  it(`replay: seed ${one} holds`, async () => {
    const result = await simulate(Number(one), options('lines'));
    console.log(result.lines.join('\n'));
    console.log(tell(result));
    expect(result.violation).toBeNull();
  });
} else
  describe('seeds', () => {
    const met = {
      reached: new Set<string>(),
      diedAt: new Set<string>(),
      ends: new Set<string>(),
      logged: new Map<string, number>(),
    };
    const starts = Array.from({ length: Math.ceil(count / CHUNK) }, (_, chunk) => first + chunk * CHUNK);
    it.each(starts)('from %i on hold', async (start) => {
      for (let seed = start; seed < Math.min(start + CHUNK, first + count); seed += 1) {
        const result = await simulate(seed, options('hash-only'));
        expect(result.violation, tell(result)).toBeNull();
        for (const point of result.reached.keys()) met.reached.add(point);
        for (const point of result.diedAt.keys()) met.diedAt.add(point);
        for (const end of result.ends.keys()) met.ends.add(end);
        for (const [event, times] of result.logged) met.logged.set(event, (met.logged.get(event) ?? 0) + times);
      }
    });

    it.runIf(count >= MANY && profile === undefined)('have met every journal point, and a crash at each', () => {
      const points = [...AGENT_POINTS, ...BROKER_POINTS];
      expect(points.filter((point) => !met.reached.has(point))).toEqual([]);
      expect(points.filter((point) => !met.diedAt.has(point))).toEqual([]);
    });

    it.runIf(count >= MANY && profile === undefined)('have lifted holds and released orphans on evidence', () => {
      expect(['hold-lifted', 'orphan-released'].filter((event) => !met.logged.has(event))).toEqual([]);
    });

    it.runIf(count >= MANY && profile === undefined)('have met every outcome, and every way to be refused', () => {
      const outcomes = ['released', 'still-used', 'busy', 'hung', 'not-connected'];
      const refusals = ['conflict', 'foreign', 'unhealthy', 'hung', 'deadline-exceeded', 'stuck', 'helper-failed'];
      const others = ['helper-untrusted', 'unavailable', 'resource-exhausted'];
      const all = [
        ...outcomes.map((outcome) => `disconnect ${outcome}`),
        ...[...refusals, ...others].map((code) => `connect ${code}`),
      ];
      expect(all.filter((end) => !met.ends.has(end))).toEqual([]);
    });
  });

function tell({ seed, profile: name, violation, steps }: Result): string {
  const what =
    violation === null ? 'holds' : `breaks ${violation.invariant} at event ${violation.step}: ${violation.what}`;
  return `seed ${seed} (${name}) ${what} (${steps} events); replay it with FAIRLEAD_SIM_SEED=${seed} npx vitest run --project sim test/sim/simulation.test.ts`;
}

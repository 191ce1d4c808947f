import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import { Deadline } from '../../../src/engine/deadline.js';
import { Locks } from '../../../src/engine/locks.js';
import { volumeOf, watch } from '../../unit/engine/bench.js';
import { quiet, VirtualClock } from '../../unit/engine/virtual-clock.js';

const LEAVES = ['a', 'b'].map((name) => volumeOf(name).leaf);
const leaf = fc.constantFrom(...LEAVES);
const action = fc.oneof(
  fc.record({
    do: fc.constant('ask' as const),
    leaf,
    wait: fc.integer({ min: 0, max: 50 }),
    work: fc.integer({ min: 0, max: 40 }),
    goneAfter: fc.option(fc.integer({ min: 0, max: 50 })),
  }),
  fc.record({ do: fc.constant('ask patiently' as const), leaf, work: fc.integer({ min: 0, max: 40 }) }),
  fc.record({ do: fc.constant('stuck' as const), leaf }),
  fc.record({ do: fc.constant('unstuck' as const), leaf }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30 }) }),
);

describe('locks', () => {
  it('are had by one at a time, in order, by everybody who was not refused, and are free in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const clock = new VirtualClock();
        const locks = new Locks(clock);
        const inside = new Map(LEAVES.map((key) => [key, 0]));
        const entered = new Map(LEAVES.map((key) => [key, [] as number[]]));
        const all: ReturnType<typeof watch<void>>[] = [];
        const patient: ReturnType<typeof watch<void>>[] = [];
        const use = async (key: (typeof LEAVES)[number], turn: number, lock: Promise<() => void>, work: number) => {
          const unlock = await lock;
          expect(inside.get(key)).toBe(0);
          inside.set(key, 1);
          entered.get(key)?.push(turn);
          await clock.sleep(work);
          inside.set(key, 0);
          unlock();
        };
        for (const [turn, step] of actions.entries()) {
          switch (step.do) {
            case 'ask': {
              const client = new AbortController();
              const { goneAfter } = step;
              if (goneAfter !== null) void clock.sleep(goneAfter).then(() => client.abort());
              const deadline = new Deadline(clock, step.wait, client.signal);
              all.push(watch(use(step.leaf, turn, locks.acquireWithin(step.leaf, deadline), step.work)));
              break;
            }
            case 'ask patiently':
              patient.push(watch(use(step.leaf, turn, locks.acquire(step.leaf), step.work)));
              break;
            case 'stuck':
              locks.setStuck(step.leaf, new FairleadError('stuck', 'It is not over.'));
              break;
            case 'unstuck':
              locks.clearStuck(step.leaf);
              break;
            case 'pass':
              await clock.pass(step.ms);
          }
        }
        await clock.pass(10_000);
        for (const request of all) {
          if (request.state === 'broken') expect(request.error).toBeInstanceOf(FairleadError);
          else expect(request.state).toBe('kept');
        }
        expect(patient.every(({ state }) => state === 'kept')).toBe(true);
        for (const turns of entered.values()) expect(turns).toEqual([...turns].sort((left, right) => left - right));
        for (const key of LEAVES) {
          const free = watch(locks.acquireWithin(key, new Deadline(clock, 0)));
          await quiet();
          expect(free.state).toBe('kept');
        }
        expect(clock.sleeping).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

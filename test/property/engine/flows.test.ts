// Whatever is asked in whatever order, with whatever failing in between: nothing in use is unmounted, nothing answered
// is lost, and once the world is well again everything used is mounted and nothing else is left.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Consumer } from '../../../src/core/names.js';
import { STEP_KINDS } from '../../../src/core/steps.js';
import { Bench, DEAD, diskFull, ending, HEALTHY, HUNG, KNOWN, mountOf, type Watched } from '../../unit/engine/bench.js';

const VOLUMES = KNOWN.slice(0, 2);
const CONSUMERS = ['cli:a', 'cli:b', 'vm:0b7d1e4a-6f52-4c3b-9a51-2f1f0c9d8e77'] as Consumer[];
const volume = fc.constantFrom(...VOLUMES);
const consumer = fc.constantFrom(...CONSUMERS);
const DEADLINE_MS = 3000;

const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('connect' as const), volume, consumer }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('disconnect' as const), volume, consumer }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 4000 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('step fails' as const),
      kind: fc.constantFrom(...STEP_KINDS),
      how: fc.constantFrom('refused', 'lost before', 'lost after', 'slow', 'unavailable'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disk is full' as const), commits: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('settling takes long' as const), times: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('broker' as const), there: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('volume' as const),
      volume,
      judgement: fc.constantFrom(HEALTHY, HUNG, DEAD),
      busy: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('somebody mounts' as const), volume }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), reboot: fc.boolean() }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

async function act(bench: Bench, step: Action, requests: Watched<unknown>[], faults: string[]): Promise<void> {
  switch (step.do) {
    case 'connect': {
      const request = bench.connect(step.volume, step.consumer, { deadlineMs: DEADLINE_MS });
      requests.push(request);
      request.promise.then(
        ({ attachment }) => {
          if (!bench.everAttached.has(attachment)) faults.push('answered, and not on disk');
        },
        () => undefined,
      );
      return;
    }
    case 'disconnect': {
      const request = bench.disconnect(step.volume, step.consumer, { deadlineMs: DEADLINE_MS });
      requests.push(request);
      request.promise.then(
        ({ outcome, mounted }) => {
          const isMounted = bench.at(step.volume).mounts.some(({ recognised }) => recognised);
          if (outcome === 'released' && (mounted || isMounted)) faults.push('released, and still mounted');
        },
        () => undefined,
      );
      return;
    }
    case 'pass':
      return bench.clock.pass(step.ms);
    case 'step fails':
      bench.once(`step ${step.kind}`, async (proceed) => {
        switch (step.how) {
          case 'refused':
            return ending('refused', 'helper-failed');
          case 'unavailable':
            return ending('refused', 'unavailable');
          case 'lost after':
            await proceed();
            return ending('unknown', 'unavailable');
          case 'slow':
            await bench.clock.sleep(2 * DEADLINE_MS);
            return proceed();
          default:
            return ending('unknown', 'deadline-exceeded');
        }
      });
      return;
    case 'disk is full':
      for (let index = 0; index < step.commits; index++) bench.once('commit', diskFull);
      return;
    case 'settling takes long':
      for (let index = 0; index < step.times; index++) bench.once('settle', () => 'acting');
      return;
    case 'broker':
      if (step.there) bench.brokerConnects();
      else bench.brokerConnected = false;
      return;
    case 'volume': {
      const { judgement, busy } = step;
      Object.assign(bench.at(step.volume), { judgement, busy });
      return;
    }
    case 'somebody mounts': {
      const place = bench.at(step.volume);
      if (place.mounts.length === 0)
        Object.assign(place, { directory: 'empty', mounts: [mountOf({ hardened: false })] });
      return;
    }
    case 'crash':
      bench.crash();
      if (step.reboot) {
        bench.bootId = `${bench.bootId}+`;
        for (const place of bench.places.values())
          Object.assign(place, { mounts: [], judgement: HEALTHY, busy: false });
      }
      await bench.start();
  }
}

describe('any requests with any failures', () => {
  it('take nothing in use away, lose nothing, answer in time, and leave nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const bench = new Bench();
        bench.onVanish = 'remount';
        await bench.start();
        const faults: string[] = [];
        let requests: Watched<unknown>[] = [];
        for (const step of actions) {
          if (step.do === 'crash') requests = [];
          await act(bench, step, requests, faults);
        }
        bench.calm();
        bench.brokerConnects();
        for (const one of VOLUMES) Object.assign(bench.at(one), { judgement: HEALTHY, busy: false });
        await bench.clock.pass(DEADLINE_MS + 1000);
        expect(requests.filter(({ state }) => state === 'open')).toEqual([]);
        await bench.clock.pass(300_000);
        expect(faults).toEqual([]);
        expect(bench.takenAway).toEqual([]);
        expect([...bench.durable.operations.values()]).toEqual([]);
        expect(bench.clock.sleeping).toBe(0);
        for (const one of VOLUMES) {
          const { leaf } = one;
          const place = bench.at(one);
          const isKept = bench.durable.isUsed(leaf);
          // Somebody else's mount that came after the start is found at the next one.
          if (!isKept && !bench.durable.mounts.has(leaf)) continue;
          expect([leaf, place.mounts.length > 0, bench.durable.mounts.get(leaf)?.state]).toEqual([
            leaf,
            true,
            'mounted',
          ]);
          expect(isKept).toBe(true);
        }
        for (const one of VOLUMES) {
          for (const user of CONSUMERS) await bench.disconnect(one, user).promise;
          await bench.engine.liftHold(
            { leaf: one.leaf, force: false },
            { deadlineMs: 1000, signal: new AbortController().signal },
          );
          await bench.clock.pass(60_000);
          if (bench.durable.leaves().has(one.leaf)) throw new Error('something is recorded of a leaf that nobody uses');
        }
      }),
      { numRuns: 1500 },
    );
  }, 120_000);
});

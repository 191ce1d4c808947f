import { describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import { REPLY_GRACE_MS } from '../../../src/core/limits.js';
import { Deadline } from '../../../src/engine/deadline.js';
import { answerWithin, type Exchange } from '../../../src/engine/exchange.js';
import { codeOf, gate, watch, type Watched } from './bench.js';
import { quiet, VirtualClock } from './virtual-clock.js';

function ask(
  clock: VirtualClock,
  work: (exchange: Exchange<string>) => Promise<string>,
  warnings: string[] = [],
): Watched<string> {
  const log = { info: () => undefined, warn: (event: string) => warnings.push(event) };
  return watch(answerWithin(clock, log, new Deadline(clock, 1000), work));
}

describe('a request', () => {
  it('is answered with what its work gives or throws, and leaves no timer behind', async () => {
    const clock = new VirtualClock();
    const kept = ask(clock, () => Promise.resolve('done'));
    const broken = ask(clock, () => Promise.reject(new FairleadError('hung', 'It hangs.')));
    await quiet();
    expect(kept.value).toBe('done');
    expect(codeOf(broken)).toBe('hung');
    expect(clock.sleeping).toBe(0);
  });

  it('is answered within a second of its deadline though its work never ends', async () => {
    const clock = new VirtualClock();
    const request = ask(clock, () => gate().opened.then(() => 'never'));
    await clock.pass(1000);
    expect(request.state).toBe('open');
    await clock.pass(REPLY_GRACE_MS - 1);
    expect(codeOf(request)).toBe('deadline-exceeded');
  });

  it('is answered late with the failure that its work is cleaning up after', async () => {
    const clock = new VirtualClock();
    const request = ask(clock, (exchange) => {
      exchange.failing(new FairleadError('helper-failed', 'The helper failed.'));
      return gate().opened.then(() => 'never');
    });
    await clock.pass(3000);
    expect(codeOf(request)).toBe('helper-failed');
  });

  it('is answered late with the obstacle that is known then', async () => {
    const clock = new VirtualClock();
    const log = { info: () => undefined, warn: () => undefined };
    let obstacle: FairleadError | null = null;
    const work = (): Promise<string> => gate().opened.then(() => 'never');
    const request = watch(answerWithin(clock, log, new Deadline(clock, 1000), work, () => obstacle));
    await clock.pass(1000);
    obstacle = new FairleadError('unavailable', 'The disk does not answer.', { field: 'state_dir' });
    await clock.pass(REPLY_GRACE_MS);
    expect(codeOf(request)).toBe('unavailable');
  });

  it('may be answered before its work is over, and only once', async () => {
    const clock = new VirtualClock();
    const end = gate();
    const seen: boolean[] = [];
    const request = ask(clock, async (exchange) => {
      seen.push(exchange.isAnswered());
      exchange.answer('early');
      exchange.answer('again');
      seen.push(exchange.isAnswered());
      await end.opened;
      return 'late';
    });
    await quiet();
    expect(request.value).toBe('early');
    end.open();
    await quiet();
    expect([request.value, ...seen]).toEqual(['early', false, true]);
    expect(clock.sleeping).toBe(0);
  });

  it('tells its work that the answer is given, and logs what fails after it', async () => {
    const clock = new VirtualClock();
    const warnings: string[] = [];
    const end = gate();
    let answered: boolean | null = null;
    ask(
      clock,
      async (exchange) => {
        await end.opened;
        answered = exchange.isAnswered();
        throw new Error('too late');
      },
      warnings,
    );
    await clock.pass(2000);
    end.open();
    await quiet();
    expect(answered).toBe(true);
    expect(warnings).toEqual(['work-failed-after-its-answer']);
  });
});

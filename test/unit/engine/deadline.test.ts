import { describe, expect, it } from 'vitest';
import { Deadline } from '../../../src/engine/deadline.js';
import { VirtualClock } from './virtual-clock.js';

describe('a deadline', () => {
  it('counts down to zero and stays there', async () => {
    const clock = new VirtualClock();
    await clock.pass(500);
    const deadline = new Deadline(clock, 100);
    expect(deadline.remaining).toBe(100);
    await clock.pass(99);
    expect([deadline.remaining, deadline.isOver()]).toEqual([1, false]);
    await clock.pass(1);
    expect([deadline.remaining, deadline.isOver()]).toEqual([0, true]);
    await clock.pass(50);
    expect(deadline.remaining).toBe(0);
  });

  it('is over when the client has gone, and its time goes on', () => {
    const client = new AbortController();
    const deadline = new Deadline(new VirtualClock(), 100, client.signal);
    expect(deadline.isOver()).toBe(false);
    client.abort();
    expect([deadline.isOver(), deadline.remaining]).toEqual([true, 100]);
  });
});

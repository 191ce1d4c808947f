// Who gets how much of the listener: places, turns, and who is kept from the socket after a flood.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  HTTP_CONNECTIONS,
  HTTP_REQUESTS,
  MAX_LINK_REQUESTS,
  MAX_REFUSED_A_SECOND,
  MAX_SHUT_USERS,
  MAX_VAIN_A_SECOND,
  SHUT_FIRST_MS,
  SHUT_LAST_MS,
} from '../../../src/core/limits.js';
import { Floods, type Shut } from '../../../src/doors/http/floods.js';
import { Places } from '../../../src/doors/http/places.js';
import { Turns } from '../../../src/doors/http/turns.js';

const LIMITS = { root: 3, others: 10, each: 5, kept: 4, few: 2 };

describe('places', () => {
  const filled = (places: Places, uid: number): number => {
    let taken = 0;
    while (places.take(uid) !== null) taken += 1;
    return taken;
  };
  test('root has its own, and one user no more than his', () => {
    const places = new Places(LIMITS);
    expect([filled(places, 1), filled(places, 0)]).toEqual([5, 3]);
  });
  test('whoever has few gets one though others have taken what they may', () => {
    const places = new Places(LIMITS);
    expect([1, 2, 3, 4].map((uid) => filled(places, uid))).toEqual([5, 2, 2, 1]);
    expect(filled(places, 0)).toBe(3);
  });
  test('a place that is given back is free, once', () => {
    const places = new Places(LIMITS);
    const leave = places.take(1);
    filled(places, 1);
    leave?.();
    leave?.();
    expect(filled(places, 1)).toBe(1);
  });
  test('all connections fit into the smallest common limit of descriptors, all requests into the line to the broker', () => {
    expect(HTTP_CONNECTIONS.root + HTTP_CONNECTIONS.others).toBeLessThan(4096 - 256);
    expect(HTTP_REQUESTS.root + HTTP_REQUESTS.others).toBeLessThanOrEqual(MAX_LINK_REQUESTS);
  });
});

test('root’s turn is next whoever has asked for thousands, and users take turns one by one', async () => {
  const turns = new Turns();
  const order: number[] = [];
  const busy = (uid: number) => () => {
    order.push(uid);
    const end = performance.now() + 3;
    while (performance.now() < end);
  };
  for (let n = 0; n < 6; n++) turns.ask(1, busy(1));
  turns.ask(2, busy(2));
  turns.ask(0, busy(0));
  await expect.poll(() => order.length).toBe(8);
  expect(order).toEqual([0, 1, 2, 1, 1, 1, 1, 1]);
});

describe('a flood', () => {
  let shut: Shut[];
  let floods: Floods;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    shut = [];
    floods = new Floods((one) => shut.push(one));
  });
  afterEach(() => vi.useRealTimers());
  const many = (count: number, work: () => void): void => {
    for (let n = 0; n < count; n++) work();
  };

  test('of strangers shuts strangers out for a while, longer when it comes again', () => {
    let ms = SHUT_FIRST_MS;
    for (const last = SHUT_LAST_MS * 2; ms < last; ms *= 2) {
      shut.splice(0);
      many(MAX_REFUSED_A_SECOND + 10, () => floods.stranger());
      expect(shut).toEqual([{ strangers: true, users: [] }]);
      vi.advanceTimersByTime(Math.min(ms, SHUT_LAST_MS) - 1);
      expect(shut).toHaveLength(1);
      vi.advanceTimersByTime(1);
      expect(shut[1]).toEqual({ strangers: false, users: [] });
    }
    vi.advanceTimersByTime(SHUT_LAST_MS * 3);
    shut.splice(0);
    many(MAX_REFUSED_A_SECOND + 1, () => floods.stranger());
    vi.advanceTimersByTime(SHUT_FIRST_MS);
    expect(shut).toHaveLength(2);
  });
  test('of one user shuts him out and nobody else', () => {
    many(MAX_VAIN_A_SECOND + 1, () => floods.vain(7));
    many(MAX_VAIN_A_SECOND, () => floods.vain(8));
    expect(shut).toEqual([{ strangers: false, users: [7] }]);
  });
  test('is none when it takes its time', () => {
    for (let second = 0; second < 20; second++) {
      many(MAX_REFUSED_A_SECOND, () => floods.stranger());
      vi.advanceTimersByTime(1001);
    }
    expect(shut).toEqual([]);
  });
  test('of many users at once shuts out so many as a list can hold', () => {
    for (let uid = 1; uid < MAX_SHUT_USERS * 2; uid++) many(MAX_VAIN_A_SECOND + 1, () => floods.vain(uid));
    expect(shut.at(-1)?.users).toHaveLength(MAX_SHUT_USERS);
  });
});

import { describe, expect, it } from 'vitest';
import { quantile, ratios, summarise } from '../../../bench/statistics.js';

describe('quantile', () => {
  it('is the middle value, or what lies between the two middle ones', () => {
    expect(quantile([9, 1, 5], 0.5)).toBe(5);
    expect(quantile([9, 1, 5, 7], 0.5)).toBe(6);
  });

  it('does not change the values it is given', () => {
    const values = [3, 1, 2];
    quantile(values, 0.5);
    expect(values).toEqual([3, 1, 2]);
  });

  it('interpolates towards the end', () => {
    const values = Array.from({ length: 101 }, (_, i) => i);
    expect(quantile(values, 0.95)).toBeCloseTo(95);
    expect(quantile([10, 20], 0.95)).toBeCloseTo(19.5);
  });

  it('has nothing to say of nothing', () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });
});

describe('ratios', () => {
  it('compares within a round, so that a disturbed round disturbs both sides', () => {
    const calm = [[1, 1, 1]];
    const others = [[10, 10, 10]];
    const disturbed = [...calm, [5, 5, 5]];
    expect(ratios(disturbed, [...others, [50, 50, 50]])).toEqual([10, 10]);
  });

  it('leaves out rounds that only one side has', () => {
    expect(ratios([[1], [1]], [[2]])).toEqual([2]);
    expect(ratios([[1]], [])).toEqual([]);
  });
});

it('a summary has count, median and 95th percentile', () => {
  expect(summarise([1, 2, 3])).toEqual({ n: 3, median: 2, p95: 2.9 });
});

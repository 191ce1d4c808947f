// Numbers out of numbers: medians, percentiles, and ratios of what was measured side by side. Pure.

/** What is said of a row of measurements. */
export interface Summary {
  readonly n: number;
  readonly median: number;
  readonly p95: number;
}

/** The value below which the share `part` of the values lies, interpolated between neighbours. Throws on no values. */
export function quantile(values: readonly number[], part: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((one, other) => one - other);
  const place = (sorted.length - 1) * part;
  const below = sorted[Math.floor(place)] ?? NaN;
  const above = sorted[Math.ceil(place)] ?? NaN;
  return below + (above - below) * (place - Math.floor(place));
}

/** Median and 95th percentile. */
export function summarise(values: readonly number[]): Summary {
  return { n: values.length, median: quantile(values, 0.5), p95: quantile(values, 0.95) };
}

/**
 * How many times `subject` goes into `other`, round by round: the median of the rounds' own ratios, so that what disturbed
 * a whole round disturbs both sides of its ratio. Rounds that one of them lacks are left out.
 */
export function ratios(
  subject: readonly (readonly number[])[],
  other: readonly (readonly number[])[],
): readonly number[] {
  return subject.flatMap((values, round) => {
    const others = other[round] ?? [];
    if (values.length === 0 || others.length === 0) return [];
    return [quantile(others, 0.5) / quantile(values, 0.5)];
  });
}

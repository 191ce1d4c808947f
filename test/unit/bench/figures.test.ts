import { describe, expect, it } from 'vitest';
import { Measured } from '../../../bench/figures.js';
import { cellsOf, turns } from '../../../bench/plan.js';
import { intoPage } from '../../../bench/page.js';
import { tables, type Line } from '../../../bench/tables.js';

const cell = { mounts: 20, concurrency: 1, helperMs: 0, rounds: 2, repeats: 1 };

function measured(): Measured {
  const both = new Measured(cell);
  for (const round of [0, 1]) {
    both.add('connect-mounted', 'nova-own', round, [100, 120]);
    both.add('connect-mounted', 'nova-fairlead', round, [1, 1.2]);
  }
  both.add('probe', 'bare', 0, [0.1]);
  return both;
}

describe('figures', () => {
  it('are one object each, with everything that is needed to read them', () => {
    const [first] = measured().figures();
    expect(first).toMatchObject({
      name: 'connect-mounted',
      subject: 'nova-own',
      mounts: 20,
      concurrency: 1,
      helperMs: 0,
      n: 4,
      median: 110,
      unit: 'ms',
    });
    expect(first?.p95).toBeCloseTo(120);
  });

  it('are compared only with those who did the same', () => {
    const ratio = measured().ratios();
    expect(ratio.map(({ figure, subject, to }) => [figure, subject, to])).toEqual([
      ['connect-mounted', 'nova-fairlead', 'nova-own'],
    ]);
    expect(ratio[0]?.median).toBeCloseTo(100);
  });

  it('make a table with the factor beside them', () => {
    const text = tables([...measured().figures(), ...measured().ratios()]);
    expect(text).toContain("| Nova's own driver |");
    expect(text).toMatch(/\| +110 \(120\) \| +1\.10 \(1\.20\) \| +100 × \|/);
  });
});

describe('the page', () => {
  const ran: readonly Line[] = [
    { name: 'machine', processor: 'A processor', processors: 2, memoryMiB: 1024, load: 0.1 },
    {
      name: 'versions',
      fairlead: '1.0.0',
      commit: 'abc',
      node: '20.0.0',
      python: '3.11',
      nova: '26.0.0',
      kernel: '6.1',
      helper: 'perl',
    },
    ...measured().figures(),
    { name: 'run', extent: 'quick', seconds: 7 },
  ];
  const page = 'before\n<!-- figures: node dist/bench/report.js -->\nold\n<!-- end of figures -->\nafter\n';

  it('gets the figures between its marks, and nothing else is touched', () => {
    const text = intoPage(page, ran);
    expect(text).toMatch(/^before\n/);
    expect(text).toMatch(/\nafter\n$/);
    expect(text).not.toContain('old');
    expect(text).toContain('### connect-mounted');
    expect(intoPage(text, ran)).toBe(text);
  });

  it('refuses a run that was cut off, and a page without a place', () => {
    expect(() => intoPage(page, ran.slice(0, -1))).toThrow('not whole');
    expect(() => intoPage('nothing', ran)).toThrow('no <!-- figures');
  });
});

describe('the plan', () => {
  it('has every condition, with mounts only ever added', () => {
    const cells = cellsOf('full');
    expect(cells.map(({ mounts, concurrency, helperMs }) => `${mounts} ${concurrency} ${helperMs}`)).toEqual(
      [20, 200, 1000].flatMap((mounts) => ['1 0', '32 0', '1 200', '32 200'].map((rest) => `${mounts} ${rest}`)),
    );
  });

  it('lets everybody begin in turn', () => {
    expect([0, 1, 2, 3].map((round) => turns(['a', 'b', 'c'], round).join(''))).toEqual(['abc', 'bca', 'cab', 'abc']);
  });
});

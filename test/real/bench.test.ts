// The benchmark works: its smallest run, through the same door as the whole one. No figure is judged here, only that each
// is there and was measured on mounts that the kernel confirmed.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, run } from '../rig/programs.js';

const NOVA = '/usr/lib/python3/dist-packages/nova/version.py';

test.runIf(existsSync(NOVA))(
  'the smallest run has every figure of every subject, and nothing but figures',
  async () => {
    const ran = await run(process.execPath, [join(ROOT, 'dist/bench/main.js')], {
      env: { BENCH_QUICK: '1' },
      deadlineMs: 110_000,
    });
    expect(ran.status, ran.stderr).toBe(0);
    const lines = ran.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const of = (subject: string): string[] =>
      lines
        .filter((line) => line['subject'] === subject && line['unit'] === 'ms' && line['concurrency'] === 1)
        .map(({ name }) => String(name))
        .sort();
    const everybody = ['connect-again', 'connect-cold', 'connect-mounted', 'disconnect'];
    expect(of('nova-own')).toEqual(everybody);
    expect(of('nova-fairlead')).toEqual([...everybody, 'disconnect-shared']);
    expect(of('fairlead')).toEqual([...everybody, 'disconnect-shared']);
    expect(of('bare')).toEqual(['connect-cold', 'disconnect', 'probe']);
    expect(lines.filter((line) => line['name'] === 'ratio').length).toBeGreaterThan(0);
    for (const line of lines.filter((one) => 'median' in one)) {
      expect(line['n']).toBeGreaterThan(0);
      expect(line['median']).toBeGreaterThan(0);
    }
    expect(lines[0]).toMatchObject({ name: 'machine' });
    expect(lines[1]).toMatchObject({ name: 'versions', nova: expect.stringMatching(/^\d+\./) as unknown });
    expect(lines.at(-1)).toMatchObject({ name: 'run', extent: 'quick' });
  },
);

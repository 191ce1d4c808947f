import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { KernelMountTable } from '../../../src/sys/mount-table.js';
import { liesOnSharedMount } from '../../../src/sys/namespace.js';
import { ROOT } from '../../rig/programs.js';
import { scratch } from './fixtures.js';

describe('where a broker is', () => {
  it('is process 1’s namespace, or is told apart from it', () => {
    const outfile = join(ROOT, `.cache/test-programs/namespace-${process.pid}.mjs`);
    buildSync({
      stdin: {
        contents: `import { inMountNamespaceOfInit } from './src/sys/namespace.ts'; console.log(inMountNamespaceOfInit());`,
        resolveDir: ROOT,
      },
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      external: ['koffi'],
      logLevel: 'silent',
    });
    const answer = (program: string, args: string[]): string =>
      execFileSync(program, args, { encoding: 'utf8' }).trim();
    expect(answer('nsenter', ['--mount', '--target', '1', process.execPath, outfile])).toBe('true');
    expect(answer('unshare', ['--mount', process.execPath, outfile])).toBe('false');
  });

  it('spreads its mounts only from a shared mount', () => {
    for (const propagation of ['shared', 'private'] as const) {
      const host = scratch(propagation);
      using table = new KernelMountTable();
      expect(liesOnSharedMount(table, host.base)).toBe(propagation === 'shared');
      host.close();
    }
  });

  it('does not spread them from a mount that only receives', () => {
    const host = scratch('shared');
    const view = join(host.dir, 'view');
    mkdirSync(view);
    execFileSync('mount', ['--bind', host.base, view]);
    execFileSync('mount', ['--make-slave', view]);
    using table = new KernelMountTable();
    expect(table.at(view)[0]?.tags.join()).toMatch(/^master:/);
    expect(liesOnSharedMount(table, view)).toBe(false);
    host.close();
  });
});

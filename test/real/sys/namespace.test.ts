import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelMountTable } from '../../../src/sys/mount-table.js';
import { liesOnSharedMount } from '../../../src/sys/namespace.js';
import { CAPABILITIES } from '../../rig/container.js';
import { ROOT } from '../../rig/programs.js';
import { LEAF, scratch } from './fixtures.js';

const PROGRAM = join(ROOT, `.cache/test-programs/namespace-${process.pid}.mjs`);
/** Where we are, and the mounts elsewhere whose mount points end like the argument. */
const SOURCE = `
import { namespaceOfInit } from './src/sys/namespace.ts';
import { KernelNamespaces } from './src/sys/namespaces.ts';
const [, , end] = process.argv;
const isWanted = ({ mountPoint }) => end !== undefined && mountPoint.endsWith(end);
const elsewhere = new KernelNamespaces().mounts(isWanted);
console.log(JSON.stringify({ init: namespaceOfInit(), elsewhere: elsewhere?.map(({ source }) => source) ?? null }));
`;

/** What the program says, run behind these words. */
function said(words: readonly string[], ...args: string[]): { readonly init: string; readonly elsewhere: unknown } {
  const [program = '', ...rest] = [...words, process.execPath, PROGRAM, ...args];
  return JSON.parse(execFileSync(program, rest, { encoding: 'utf8' })) as ReturnType<typeof said>;
}

describe('where a broker is', () => {
  beforeAll(() => {
    buildSync({
      stdin: { contents: SOURCE, resolveDir: ROOT },
      outfile: PROGRAM,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      external: ['koffi'],
      logLevel: 'silent',
    });
  });
  afterAll(() => {
    rmSync(PROGRAM);
  });

  it.each(['all', 'fewer'] as const)(
    'is process 1’s namespace, or is told apart from it, with %s capabilities',
    (capabilities) => {
      const rights = ['setpriv', `--bounding-set=${CAPABILITIES[capabilities]}`, '--inh-caps=-all'];
      expect(said(['nsenter', '--mount', '--target', '1', ...rights]).init).toBe('ours');
      expect(said(['unshare', '--mount', ...rights]).init).toBe('another');
      expect(said(['chroot', '/', ...rights]).init).toBe('ours');
    },
  );

  it.each(['all', 'fewer'] as const)(
    'sees what is mounted elsewhere with %s capabilities, and not what is here',
    async (capabilities) => {
      const host = scratch();
      const leaf = join(host.base, LEAF);
      mkdirSync(leaf);
      const rights = ['setpriv', `--bounding-set=${CAPABILITIES[capabilities]}`, '--inh-caps=-all'];
      const script = 'mount -t tmpfs elsewhere "$1"; echo; exec sleep infinity';
      execFileSync('mount', ['-t', 'tmpfs', 'here', leaf]);
      const other = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', leaf], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await new Promise((resolve) => other.stdout.once('data', resolve));
      expect(said(rights, `/${LEAF}`).elsewhere).toEqual(['here', 'elsewhere']);
      other.kill('SIGKILL');
      await new Promise((resolve) => other.once('exit', resolve));
      expect(said(rights, `/${LEAF}`).elsewhere).toEqual([]);
      host.close();
    },
  );

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

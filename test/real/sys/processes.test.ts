import { spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Holder } from '../../../src/core/observation.js';
import { KernelMountTable } from '../../../src/sys/mount-table.js';
import { KernelProcesses } from '../../../src/sys/processes.js';
import { until } from '../../rig/until.js';
import { hungFuse, LEAF, scratch, tmpfs, type Scratch } from './fixtures.js';
import { programOf } from './programs.js';

const processes = new KernelProcesses(programOf('holders-main'));
let host: Scratch;
let leaf: string;
let dev: string;
let children: ChildProcess[];
beforeEach(() => {
  host = scratch();
  leaf = join(host.base, LEAF);
  mkdirSync(leaf);
  tmpfs(leaf);
  using table = new KernelMountTable();
  dev = table.at(leaf)[0]?.dev ?? '';
  children = [];
});
afterEach(async () => {
  await Promise.all(
    children.map((child) => {
      child.kill('SIGKILL');
      return new Promise((resolve) =>
        child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(null),
      );
    }),
  );
  host.close();
});

/** A process that does this in a shell and then waits; resolves when it has begun to. */
async function busy(script: string): Promise<number> {
  const child = spawn('/bin/sh', ['-c', `${script}; echo ready; exec /bin/sleep 1000`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('it is ready', () => said.includes('ready'));
  return child.pid ?? 0;
}
const holding = (exclude: number[] = []): Promise<readonly Holder[]> => processes.holding(dev, leaf, exclude);

describe('who keeps a mount busy', () => {
  it('is nobody on an idle mount', async () => {
    await busy('cd /');
    expect(await holding()).toEqual([]);
  });

  it('is found by descriptor, directory and mapping, and told once each', async () => {
    writeFileSync(join(leaf, 'file'), '');
    copyFileSync('/bin/sleep', join(leaf, 'sleeper'));
    const byDescriptor = await busy(`exec 9< ${leaf}/file`);
    const byDirectory = await busy(`cd ${leaf}`);
    const mapped = spawn('/bin/sh', ['-c', `chmod +x ${leaf}/sleeper; exec ${leaf}/sleeper 1000`], { stdio: 'ignore' });
    children.push(mapped);
    const found = await until('all three are found', async () => {
      const holders = await holding();
      return holders.length === 3 && holders;
    });
    expect([...found].sort((a, b) => a.pid - b.pid)).toEqual([
      { pid: byDescriptor, command: 'sleep', by: 'descriptor' },
      { pid: byDirectory, command: 'sleep', by: 'directory' },
      { pid: mapped.pid, command: 'sleeper', by: 'mapping' },
    ]);
    expect((await holding([byDescriptor])).map((holder) => holder.pid)).not.toContain(byDescriptor);
  });

  it('is not whoever uses another mount at the same path, below or above it', async () => {
    writeFileSync(join(leaf, 'file'), '');
    tmpfs(leaf, 'on-top');
    writeFileSync(join(leaf, 'file'), '');
    await busy(`exec 9< ${leaf}/file`);
    expect(await holding()).toEqual([]);
  });

  it('is a namespace with a copy of the mount, named by one of its processes', async () => {
    const child = spawn(
      'unshare',
      ['--mount', '--propagation', 'private', '/bin/sh', '-c', 'sleep 1000 & echo ready; wait'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      },
    );
    children.push(child);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const found = await holding();
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ by: 'namespace' });
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  });

  it('cannot forge a line with its name', async () => {
    const program = join(host.dir, 'a\nb\u001b');
    copyFileSync('/bin/sleep', program);
    children.push(spawn(program, ['1000'], { cwd: leaf, stdio: 'ignore' }));
    const found = await until('it is found', async () => {
      const holders = await holding();
      return holders.length > 0 && holders;
    });
    expect(found.map((holder) => holder.command)).toEqual(['a\\nb\\u{1b}']);
  });

  it('is answered in time although the mount is hung', async () => {
    const other = join(host.base, 'e'.repeat(32));
    mkdirSync(other);
    const end = hungFuse(other);
    using table = new KernelMountTable();
    const before = performance.now();
    expect(await processes.holding(table.at(other)[0]?.dev ?? '', other, [])).toEqual([]);
    expect(performance.now() - before).toBeLessThan(3000);
    end();
  });
});

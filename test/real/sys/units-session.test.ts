import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { option } from '../../../src/core/argv.js';
import type { ProcessIdentity } from '../../../src/sys/ports.js';
import { isRunning } from '../../../src/sys/process-identity.js';
import { KernelUnits } from '../../../src/sys/units.js';
import { until } from '../../rig/until.js';
import { helper, lives, numberIn } from './helpers.js';

const HIERARCHY = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) =>
  existsSync(join(path, 'cgroup.controllers')),
);
const PREFIX = `fairlead-mount-t${process.pid}-`;
const UNIT = `${PREFIX}${'a'.repeat(32)}`;

let dir: string;
let units: KernelUnits;
const make = (hierarchies?: string[]): KernelUnits =>
  new KernelUnits({ trustedDirs: [dir], choice: 'session', ...(hierarchies === undefined ? {} : { hierarchies }) });
beforeEach(() => {
  dir = mkdtempSync('/tmp/fairlead-units-');
  units = make();
});
afterEach(async () => {
  for (const unit of await units.list(PREFIX)) await units.kill(unit, 5000);
  rmSync(dir, { recursive: true });
});
const group = (unit = UNIT): string => join(HIERARCHY ?? '', 'fairlead', unit);
const start = (text: string, budgetMs = 10_000, args: string[] = []): ReturnType<KernelUnits['start']> =>
  units.start({ unit: UNIT, program: helper(dir, 'helper', text), args, budgetMs });
/** A helper that leaves a daemon in a session of its own, with our output still open. */
const DAEMONISES = 'echo mounted; /usr/bin/setsid /bin/sleep 1000 & echo $! > $(dirname $0)/daemon';

describe.skipIf(HIERARCHY === undefined)('a helper in a control group of its own', () => {
  it('tells status, signal and output, and leaves no group', async () => {
    expect(await units.containment()).toBe('cgroup');
    expect(await start('echo said; echo more >&2; exit 3')).toEqual({
      end: 'exited',
      status: 3,
      output: 'said\nmore\n',
    });
    expect(await start('kill -TERM $$')).toEqual({ end: 'signalled', signal: 'SIGTERM', output: '' });
    expect(existsSync(group())).toBe(false);
    expect(await units.state(UNIT)).toBe('idle');
  });

  it('is born inside, with everything that it starts', async () => {
    const end = await start('cat /proc/self/cgroup; sh -c "cat /proc/self/cgroup"');
    const lines = end.end === 'exited' ? end.output.split('\n').filter((line) => line.startsWith('0::')) : [];
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line.endsWith(`/fairlead/${UNIT}`)).toBe(true);
    // And we are not inside ourselves any more, with none of our threads.
    for (const thread of readdirSync('/proc/self/task')) {
      expect(readFileSync(`/proc/self/task/${thread}/cgroup`, 'utf8')).toMatch(/^0::.*\/fairlead$/m);
    }
  });

  it('has ended when it ends, whatever daemon keeps its output, and the daemon keeps the unit `occupied`', async () => {
    const before = performance.now();
    expect(await start(DAEMONISES)).toEqual({ end: 'exited', status: 0, output: 'mounted\n' });
    expect(performance.now() - before).toBeLessThan(3000);
    expect(await units.state(UNIT)).toBe('occupied');
    expect(await units.list(PREFIX)).toEqual([UNIT]);
  });

  it('is told of as soon as it was forked, by what tells it from a later process of its number', async () => {
    const forked: ProcessIdentity[] = [];
    const program = helper(dir, 'helper', 'echo $$; read -r line < $(dirname $0)/go');
    execFileSync('mkfifo', [join(dir, 'go')]);
    const ended = units.start({ unit: UNIT, program, args: [], budgetMs: 10_000, forked: (one) => forked.push(one) });
    const [told] = await until('it is told of', () => forked.length > 0 && forked);
    expect(told !== undefined && isRunning(told)).toBe(true);
    expect(told !== undefined && isRunning({ ...told, began: '1' })).toBe(false);
    writeFileSync(join(dir, 'go'), '\n');
    expect(await ended).toMatchObject({ end: 'exited', output: `${told?.pid ?? 0}\n` });
    expect(told !== undefined && isRunning(told)).toBe(false);
  });

  it('is refused under a name in use, and the daemon there is left alone', async () => {
    await start(DAEMONISES);
    const daemon = numberIn(join(dir, 'daemon'));
    expect(await start('touch $(dirname $0)/second')).toMatchObject({ end: 'not-started', why: 'name-in-use' });
    expect(existsSync(join(dir, 'second'))).toBe(false);
    expect(lives(daemon)).toBe(true);
  });

  it('is late after its time, and lives on; when it is ended, its descendants are, daemons too', async () => {
    const end = await start(`${DAEMONISES}\nexec /bin/sleep 1000`, 300);
    expect(end).toEqual({ end: 'late', isKnown: true, output: 'mounted\n' });
    expect(await units.state(UNIT)).toBe('starting');
    expect(lives(numberIn(join(dir, 'daemon')))).toBe(true);
    expect(await units.kill(UNIT, 5000)).toBe('gone');
    expect(lives(numberIn(join(dir, 'daemon')))).toBe(false);
    expect(existsSync(group())).toBe(false);
  });

  it('is `starting` while it is at work, `occupied` for a new broker, and can be ended by either', async () => {
    const ended = start('exec /bin/sleep 1000');
    await until('it is at work', async () => (await units.state(UNIT)) === 'starting');
    const other = make();
    expect(await other.state(UNIT)).toBe('occupied');
    expect(await other.list(PREFIX)).toEqual([UNIT]);
    expect(await other.kill(UNIT, 5000)).toBe('gone');
    expect(await ended).toEqual({ end: 'signalled', signal: 'SIGKILL', output: '' });
    expect(await other.state(UNIT)).toBe('idle');
  });

  it('lives on when the broker is killed, and is seen and ended by the next one', async () => {
    const program = helper(dir, 'helper', DAEMONISES);
    const broker = join(dir, 'broker.mjs');
    const built = join(dir, 'units.mjs');
    const { buildSync } = await import('esbuild');
    const source = fileURLToPath(new URL('../../../src/sys/units.ts', import.meta.url));
    buildSync({
      entryPoints: [source],
      outfile: built,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      external: ['koffi'],
    });
    const koffi = fileURLToPath(import.meta.resolve('koffi'));
    writeFileSync(built, readFileSync(built, 'utf8').replaceAll('"koffi"', JSON.stringify(koffi)));
    writeFileSync(
      broker,
      `import { KernelUnits } from ${JSON.stringify(built)};
       const units = new KernelUnits({ trustedDirs: [${JSON.stringify(dir)}], choice: 'session' });
       await units.start({ unit: ${JSON.stringify(UNIT)}, program: ${JSON.stringify(program)}, args: [], budgetMs: 10000 });
       process.kill(process.pid, 'SIGKILL');`,
    );
    expect(() => execFileSync(process.execPath, [broker])).toThrow(/SIGKILL|status null|Command failed/);
    expect(await units.state(UNIT)).toBe('occupied');
    expect(lives(numberIn(join(dir, 'daemon')))).toBe(true);
    expect(await units.kill(UNIT, 5000)).toBe('gone');
    expect(lives(numberIn(join(dir, 'daemon')))).toBe(false);
  });

  it('forgets the group of a daemon that has ended by itself', async () => {
    await start(DAEMONISES);
    process.kill(numberIn(join(dir, 'daemon')), 'SIGKILL');
    await until('it is idle', async () => (await units.state(UNIT)) === 'idle');
    expect(existsSync(group())).toBe(false);
    expect(await units.list(PREFIX)).toEqual([]);
    expect(await start('exit 0')).toMatchObject({ end: 'exited', status: 0 });
  });

  it('starts although a dead broker, of an earlier version perhaps, left an empty group', async () => {
    await units.state(UNIT);
    mkdirSync(group());
    mkdirSync(join(group(), 'helper-4194000'));
    expect(await start('exit 0')).toMatchObject({ end: 'exited', status: 0 });
    expect(existsSync(group())).toBe(false);
  });

  it('runs beside others without waiting for them', async () => {
    const program = helper(dir, 'helper', 'exec /bin/sleep 0.3');
    const before = performance.now();
    const ends = await Promise.all(
      Array.from({ length: 20 }, (_, i) => units.start({ unit: `${PREFIX}${i}`, program, args: [], budgetMs: 10_000 })),
    );
    expect(ends.every((end) => end.end === 'exited' && end.status === 0)).toBe(true);
    expect(performance.now() - before).toBeLessThan(3000);
    expect(readdirSync(join(HIERARCHY ?? '', 'fairlead')).filter((name) => name.startsWith(PREFIX))).toEqual([]);
  });

  it('holds a helper that forks all the time', async () => {
    const end = await start('while :; do /usr/bin/setsid /bin/sleep 1000 & /bin/sleep 0.001; done', 500);
    expect(end).toMatchObject({ end: 'late' });
    expect(await units.kill(UNIT, 5000)).toBe('gone');
  });
});

describe('a helper without control groups', () => {
  beforeEach(() => {
    units = make(['/nowhere']);
  });

  it('has a process group, and that is said', async () => {
    expect(await units.containment()).toBe('process-group');
    expect(await start('echo said; exit 3')).toEqual({ end: 'exited', status: 3, output: 'said\n' });
    expect(await start('/bin/sleep 1000 & exec /bin/sleep 1000', 200)).toMatchObject({ end: 'late' });
    expect(await units.kill(UNIT, 5000)).toBe('gone');
    expect(await units.state(UNIT)).toBe('idle');
  });

  it('is refused under the name of one that is at work', async () => {
    const first = start('exec /bin/sleep 1000');
    await until('it is at work', async () => (await units.state(UNIT)) === 'starting');
    expect(await start('exit 0')).toMatchObject({ end: 'not-started', why: 'name-in-use' });
    expect(await units.list(PREFIX)).toEqual([UNIT]);
    expect(await units.kill(UNIT, 5000)).toBe('gone');
    await first;
  });
});

describe('what may be started', () => {
  it('is checked before anything is', async () => {
    const program = helper(dir, 'helper', 'touch $(dirname $0)/ran');
    const at = (path: string): ReturnType<KernelUnits['start']> =>
      units.start({ unit: UNIT, program: path, args: [], budgetMs: 5000 });
    expect(await at(join(dir, 'absent'))).toMatchObject({ end: 'not-started', why: 'missing' });
    expect(await at('/bin/true')).toMatchObject({ end: 'not-started', why: 'untrusted' });
    chmodSync(program, 0o777);
    expect(await at(program)).toMatchObject({ end: 'not-started', why: 'untrusted' });
    chmodSync(program, 0o644);
    expect(await at(program)).toMatchObject({ end: 'not-started', why: 'not-executable' });
    expect(existsSync(join(dir, 'ran'))).toBe(false);
  });

  it('never has a value where the helper reads an option, even past every parser', async () => {
    const program = helper(dir, 'helper', 'touch $(dirname $0)/ran; echo "$@"');
    const spec = { unit: UNIT, program, budgetMs: 5000 };
    await expect(units.start({ ...spec, args: ['-o suid,dev', '/mnt'] })).rejects.toThrow(RangeError);
    expect(existsSync(join(dir, 'ran'))).toBe(false);
    expect(
      await units.start({ ...spec, args: [option('--disable-xattrs'), 'r/v;touch X', '$(id)', '`id`'] }),
    ).toMatchObject({
      output: '--disable-xattrs r/v;touch X $(id) `id`\n',
    });
  });

  it('is under a name that means nothing to anybody else', async () => {
    const program = helper(dir, 'helper', 'exit 0');
    for (const unit of ['', '../x', 'a/b', '-x', 'a b', 'a.service', 'A', 'a*', 'x'.repeat(300)]) {
      await expect(units.start({ unit, program, args: [], budgetMs: 1000 })).rejects.toThrow(RangeError);
      await expect(units.kill(unit, 1000)).rejects.toThrow(RangeError);
    }
  });
});

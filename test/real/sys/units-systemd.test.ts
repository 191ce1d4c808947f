import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { HelperEnd } from '../../../src/sys/ports.js';
import { ROOT } from '../../rig/programs.js';
import { SystemdContainer, whyNoSystemd } from '../../rig/systemd-container.js';
import { until } from '../../rig/until.js';
import { helper, numberIn } from './helpers.js';

const PREFIX = 'fairlead-mount-0123abcd-';
const SECRET = 'volume-of-secrets';
/** A helper that mounts, says so, and leaves a daemon in a session of its own, as FUSE clients do. */
const MOUNTS = `mount -t tmpfs "$1" "$2" || exit 9
echo mounted; /usr/bin/setsid /bin/sleep 1000 & echo $! > $(dirname $0)/daemon`;

const why = whyNoSystemd();
describe.skipIf(why !== null)(`units of a real systemd${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let host: SystemdContainer;
  let driver: string;
  let round = 0;
  let unit = '';
  beforeAll(async () => {
    mkdirSync(join(ROOT, '.cache/test-programs'), { recursive: true });
    driver = join(ROOT, `.cache/test-programs/units-driver-${process.pid}.mjs`);
    buildSync({
      entryPoints: [join(ROOT, 'test/real/sys/units-driver.ts')],
      outfile: driver,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      external: ['koffi'],
      logLevel: 'silent',
    });
    host = await SystemdContainer.boot();
  });
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    const left = await ask<string[]>('detect', 'list', [PREFIX]);
    for (const each of left) await ask('detect', 'kill', [each, 5000]);
    expect(await ask('detect', 'list', [PREFIX])).toEqual([]);
  });

  type Choice = 'detect' | 'scope' | 'session';
  const command = (choice: Choice, method: string, args: unknown[]): [string, string[]] => [
    process.execPath,
    [driver, choice, host.inside, method, JSON.stringify(args)],
  ];
  async function ask<T>(choice: Choice, method: string, args: unknown[], through: string[] = []): Promise<T> {
    const [program, rest] = command(choice, method, args);
    const [first = program, ...more] = [...through, program, ...rest];
    const end = await host.run(first, more, { SECRET, LC_ALL: 'de_DE.UTF-8' });
    expect(end.stderr).toBe('');
    return (JSON.parse(end.stdout) as { answer: T }).answer;
  }
  /** A leaf directory of its own, and how to start a helper on it. */
  function spec(text: string, budgetMs = 20_000, operands?: string[]): object {
    round += 1;
    unit = `${PREFIX}${String(round).padStart(32, '0')}`;
    mkdirSync(join(host.shared, unit));
    helper(host.shared, 'helper', text);
    return { unit, program: host.path('helper'), args: operands ?? [SECRET, host.path(unit)], budgetMs };
  }
  const start = (choice: Choice, text: string, budgetMs?: number, operands?: string[]): Promise<HelperEnd> =>
    ask(choice, 'start', [spec(text, budgetMs, operands)]);
  const state = (): Promise<string> => ask('detect', 'state', [unit]);
  const seenByInit = async (): Promise<boolean> =>
    (await host.run('cat', ['/proc/1/mountinfo'])).stdout.includes(` ${host.path(unit)} `);
  const show = async (name: string, property: string): Promise<string> =>
    (await host.run('systemctl', ['show', '--value', `--property=${property}`, name])).stdout.trim();

  it('is found by its exact path and its state', async () => {
    expect(await ask('detect', 'way', [])).toBe('service');
    expect(await ask('scope', 'way', [])).toBe('scope');
    expect(await ask('session', 'way', [])).toBe('session');
  });

  it('keeps names of volumes out of what it shows and logs', async () => {
    await start('detect', MOUNTS);
    expect(await show(`${unit}.service`, 'Description')).toMatch(new RegExp(`^Fairlead helper ${unit} [0-9a-f]{16}$`));
    const journal = await host.run('journalctl', ['--no-pager', '--output=export']);
    expect(journal.stdout).not.toContain(SECRET);
  });

  it('starts helpers where PID 1 is, also out of a sandbox of ours', async () => {
    const sandboxed = ['unshare', '--mount', '--propagation', 'private'];
    const end = await ask<HelperEnd>('detect', 'start', [spec(MOUNTS)], sandboxed);
    expect(end).toEqual({ end: 'exited', status: 0, output: 'mounted\n' });
    expect(await seenByInit()).toBe(true);
  });

  it('hands words on as they are: nothing is expanded', async () => {
    const odd = ['$HOME', '${HOME}', '$$', '%h', '%%', '\\x41', '"a b"', "it's", 'a;b', 'é'];
    const end = await start('detect', 'for a in "$@"; do printf "<%s>" "$a"; done', 20_000, odd);
    expect(end).toEqual({ end: 'exited', status: 0, output: odd.map((each) => `<${each}>`).join('') });
    const scoped = await start('scope', 'for a in "$@"; do printf "<%s>" "$a"; done', 20_000, odd);
    expect(scoped).toEqual(end);
  });

  it('gives helpers the fixed environment and none of ours', async () => {
    const service = await start('detect', 'env; pwd');
    const output = service.end === 'exited' ? service.output : '';
    expect(output).toMatch(/^LC_ALL=C$/m);
    expect(output).toMatch(/^PATH=\/usr\/sbin:\/usr\/bin:\/sbin:\/bin$/m);
    expect(output).not.toContain('SECRET=');
    expect(output.trimEnd().endsWith('\n/')).toBe(true);
    const scope = await start('scope', 'env');
    expect(scope.end === 'exited' ? scope.output : '').not.toContain('SECRET=');
  });

  describe.each(['detect', 'scope'] as const)('by %s', (choice) => {
    const name = (): string => `${unit}.${choice === 'detect' ? 'service' : 'scope'}`;

    it('start helpers in units of their own, whose daemons stay and are seen', async () => {
      expect(await start(choice, MOUNTS)).toEqual({ end: 'exited', status: 0, output: 'mounted\n' });
      expect(await seenByInit()).toBe(true);
      // Of a scope a new broker cannot know who is inside.
      expect(await state()).toBe(choice === 'detect' ? 'serving' : 'occupied');
      expect(await ask(choice, 'list', [PREFIX])).toEqual([unit]);
      expect(await show(name(), 'ActiveState')).toBe('active');
      expect(await show(name(), 'ControlGroup')).toBe(`/system.slice/${name()}`);
      expect(await ask(choice, 'kill', [unit, 5000])).toBe('gone');
      expect(await state()).toBe('idle');
      expect(
        (await host.run('kill', ['-0', readFileSync(join(host.shared, 'daemon'), 'utf8').trim()])).status,
      ).not.toBe(0);
    });

    it('tell how a helper failed, and free its name', async () => {
      expect(await start(choice, 'echo because >&2; exit 3')).toEqual({
        end: 'exited',
        status: 3,
        output: 'because\n',
      });
      expect(await state()).toBe('idle');
      expect(await show(name(), 'ActiveState')).toBe('inactive');
      expect(await start(choice, 'kill -9 $$')).toEqual({ end: 'signalled', signal: 'SIGKILL', output: '' });
      expect(await start(choice, 'exit 0')).toEqual({ end: 'exited', status: 0, output: '' });
      expect(await state()).toBe('idle');
    });

    it('leave a helper that is late alone, and end it with all its descendants when they are told to', async () => {
      const end = await start(choice, `${MOUNTS}\nexec /bin/sleep 1000`, 1000);
      expect(end).toEqual({ end: 'late', isKnown: true, output: 'mounted\n' });
      expect(await state()).toBe(choice === 'detect' ? 'starting' : 'occupied');
      expect(await seenByInit()).toBe(true);
      expect(await ask(choice, 'kill', [unit, 5000])).toBe('gone');
      expect(await state()).toBe('idle');
      expect(
        (await host.run('kill', ['-0', readFileSync(join(host.shared, 'daemon'), 'utf8').trim()])).status,
      ).not.toBe(0);
    });

    it('end nothing on a timer', async () => {
      await start(choice, MOUNTS);
      expect(await show(name(), 'SendSIGKILL')).toBe('no');
      if (choice === 'detect') {
        expect(await show(name(), 'TimeoutStartUSec')).toBe('infinity');
        expect(await show(name(), 'OOMPolicy')).toBe('continue');
      }
    });

    it('refuse a name in use, and leave the daemon there alone', async () => {
      const first = spec(MOUNTS) as { unit: string };
      await ask(choice, 'start', [first]);
      const daemon = readFileSync(join(host.shared, 'daemon'), 'utf8').trim();
      const second = helper(host.shared, 'second', 'touch $(dirname $0)/ran');
      expect(existsSync(second)).toBe(true);
      const end = await ask<HelperEnd>(choice, 'start', [{ ...first, program: host.path('second') }]);
      expect(end).toMatchObject({ end: 'not-started', why: 'name-in-use' });
      expect(existsSync(join(host.shared, 'ran'))).toBe(false);
      expect((await host.run('kill', ['-0', daemon])).status).toBe(0);
    });

    it('survive the broker that started them, and are seen by the next one', async () => {
      const begun = spec(`echo $$ > $(dirname $0)/helper-pid; while [ ! -e $(dirname $0)/go ]; do sleep 0.02; done
        rm $(dirname $0)/go; echo a line that nobody reads; ${MOUNTS}`);
      rmSync(join(host.shared, 'helper-pid'), { force: true });
      const [program, args] = command(choice, 'start', [begun]);
      const broker = host.launch(program, args);
      await until('the helper is at work', () => !Number.isNaN(numberIn(join(host.shared, 'helper-pid'))));
      const atWork = choice === 'detect' ? 'starting' : 'occupied';
      expect(await state()).toBe(atWork);
      // nsenter has become the broker.
      broker.child.kill('SIGKILL');
      await broker.ended;
      expect(await state()).toBe(atWork);
      helper(host.shared, 'go', '');
      await until('the helper has mounted', seenByInit);
      if (choice === 'detect') await until('its daemon serves', async () => (await state()) === 'serving');
      expect(await ask(choice, 'kill', [unit, 5000])).toBe('gone');
    });
  });

  it('starts although a dead broker left a failed unit of the name', async () => {
    const begun = spec('exit 0');
    const failed = await host.run('systemd-run', [
      '--quiet',
      `--unit=${unit}.service`,
      '--service-type=forking',
      '/bin/false',
    ]);
    expect(failed.status).not.toBe(0);
    expect(await show(`${unit}.service`, 'ActiveState')).toBe('failed');
    expect(await ask('detect', 'start', [begun])).toMatchObject({ end: 'exited', status: 0 });
  });

  it('refuses a name that only the other kind of unit uses', async () => {
    const begun = spec(MOUNTS);
    await ask('scope', 'start', [begun]);
    expect(await ask('detect', 'start', [begun])).toMatchObject({ end: 'not-started', why: 'name-in-use' });
  });

  it('never starts what is not trusted', async () => {
    const begun = spec('exit 0') as { program: string };
    expect(await ask('detect', 'start', [{ ...begun, program: '/bin/true' }])).toMatchObject({ why: 'untrusted' });
    expect(await ask('detect', 'start', [{ ...begun, program: host.path('absent') }])).toMatchObject({
      why: 'missing',
    });
  });
});

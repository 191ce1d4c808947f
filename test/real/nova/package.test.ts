// The Python package as an operator gets it: built and installed without a network, tested by its own tests under each Nova, started
// in place of nova-compute, and taken out again without a trace.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NOVAS, PACKAGE, whyNoNova } from '../../rig/nova/compute.js';
import { launch, run, type Run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const why = whyNoNova('26');
const PYTHON = NOVAS['26'].python;

describe.each(['26', '34'] as const)('its own tests, under Nova %s,', (version) => {
  const absent = whyNoNova(version);
  it.skipIf(absent !== null)(`pass${absent === null ? '' : ` (skipped: ${absent})`}`, async () => {
    const options = { cwd: PACKAGE, deadlineMs: 110_000 };
    // The client is the same under each.
    const words = ['-B', '-m', 'unittest', ...(version === '26' ? [] : ['tests.test_driver'])];
    const { status, stderr } = await run(NOVAS[version].python, words, options);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(version === '26' ? /\nRan 3\d tests/ : /\nRan 1\d tests/);
    expect(stderr).not.toContain('skipped');
  });
});

describe.skipIf(why !== null)(`installed${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let dir: string;
  let installed: string;
  const pip = (...words: string[]): Promise<Run> => run(join(installed, 'bin/pip'), words);

  beforeAll(async () => {
    dir = mkdtempSync('/tmp/fairlead-nova-package-');
    installed = join(dir, 'venv');
    expect((await run(PYTHON, ['-m', 'venv', '--system-site-packages', installed])).status).toBe(0);
    // Nothing may be fetched: there is no index, and nothing but this package is asked for.
    const got = await pip('install', '--no-index', '--no-cache-dir', PACKAGE);
    expect(got.status, got.stderr).toBe(0);
  });
  afterAll(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  it('it is Nova’s own program, by its own name, so that it finds its own configuration files', async () => {
    const help = await run(join(installed, 'bin/nova-compute-fairlead'), ['--help']);
    expect(help.status, help.stderr).toBe(0);
    expect(help.stdout).toMatch(/^usage: nova-compute /);
  });

  it('it starts the compute service, which then waits for its conductor', async () => {
    for (const name of ['state', 'locks']) mkdirSync(join(dir, name));
    const conf = join(dir, 'nova.conf');
    writeFileSync(
      conf,
      `[DEFAULT]\ntransport_url = fake://\ncompute_driver = libvirt.LibvirtDriver\nstate_path = ${dir}/state\n` +
        `[oslo_concurrency]\nlock_path = ${dir}/locks\n`,
    );
    const service = launch(join(installed, 'bin/nova-compute-fairlead'), ['--config-file', conf]);
    try {
      await until('the service waits', () => /Timed out waiting for nova-conductor/.test(service.output()), 60_000);
      expect(service.child.exitCode).toBe(null);
      expect(service.output()).not.toMatch(/Traceback|ERROR/);
    } finally {
      service.child.kill('SIGKILL');
      await service.ended;
    }
  });

  it('it rehearses, and says what is missing', async () => {
    const conf = join(dir, 'rehearsal.conf');
    writeFileSync(conf, `[fairlead]\nsocket = ${dir}/agent.sock\nconnect_timeout = 1\n`);
    const instance = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
    const words = ['-m', 'fairlead_nova.rehearse', '--config-file', conf, 'connect', 'reg1/vol', 'disk-1', instance];
    const { status, stdout, stderr } = await run(join(installed, 'bin/python'), words);
    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain("InternalError: Fairlead's agent cannot be reached. Start it (fairlead up");
  });

  it('its sources make the same wheel wherever they are', async () => {
    const build = (from: string, what: string, to: string): Promise<Run> => {
      mkdirSync(to, { recursive: true });
      const code = `import sys; sys.path.insert(0, ${JSON.stringify(join(from, 'build_backend'))}); import fairlead_build; print(fairlead_build.${what}(${JSON.stringify(to)}))`;
      return run(PYTHON, ['-B', '-c', code]);
    };
    const sdist = await build(PACKAGE, 'build_sdist', join(dir, 'sdist'));
    expect(sdist.stdout.trim()).toBe('fairlead_nova-0.1.0.tar.gz');
    expect(readdirSync(join(dir, 'sdist'))).toEqual([sdist.stdout.trim()]);
    await run('/bin/tar', ['-xzf', join(dir, 'sdist', sdist.stdout.trim()), '-C', dir]);
    const wheel = 'fairlead_nova-0.1.0-py3-none-any.whl';
    expect((await build(PACKAGE, 'build_wheel', join(dir, 'one'))).stdout.trim()).toBe(wheel);
    expect((await build(join(dir, 'fairlead_nova-0.1.0'), 'build_wheel', join(dir, 'two'))).stdout.trim()).toBe(wheel);
    expect(readFileSync(join(dir, 'one', wheel)).equals(readFileSync(join(dir, 'two', wheel)))).toBe(true);
  });

  it('taken out again, nothing of it is left', async () => {
    const here = (): string[] =>
      readdirSync(installed, { recursive: true, encoding: 'utf8' }).filter((entry) => entry.includes('fairlead'));
    expect(here().length).toBeGreaterThan(5);
    expect((await pip('uninstall', '--yes', 'fairlead-nova')).status).toBe(0);
    expect(here()).toEqual([]);
  });
});

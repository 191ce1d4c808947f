import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOST_MANAGER, type ManagerPaths } from '../../../src/sys/service-manager.js';
import { KernelUnits } from '../../../src/sys/units.js';

let root: string;
let paths: ManagerPaths;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fairlead-manager-'));
  paths = {
    mark: join(root, 'run/systemd/system'),
    systemctl: join(root, 'systemctl'),
    systemdRun: join(root, 'systemd-run'),
  };
  mkdirSync(paths.mark, { recursive: true });
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** A systemctl that says this, with this status, and counts how often it is asked. */
function manager(state: string, status = 0): void {
  writeFileSync(
    paths.systemctl,
    `#!/bin/sh\necho "$@" >> ${root}/asked\n[ "$1" = is-system-running ] || exit 9\nprintf '${state}'\nexit ${status}\n`,
  );
  chmodSync(paths.systemctl, 0o755);
}
const asked = (): number =>
  existsSync(join(root, 'asked')) ? readFileSync(join(root, 'asked'), 'utf8').trim().split('\n').length : 0;
const units = (choice: 'detect' | 'scope' | 'session' = 'detect'): KernelUnits =>
  new KernelUnits({ trustedDirs: [], choice, manager: paths });

describe('how helpers are started on this host', () => {
  it('looks at one exact path', () => {
    expect(HOST_MANAGER).toEqual({
      mark: '/run/systemd/system',
      systemctl: '/usr/bin/systemctl',
      systemdRun: '/usr/bin/systemd-run',
    });
  });

  it.each([
    ['starting', 1],
    ['running', 0],
    ['degraded', 1],
    ['degraded', 0],
  ])('is a service while systemd is %s (status %i), and it is asked once', async (state, status) => {
    manager(`${state}\\n`, status);
    const here = units();
    expect(await here.way()).toBe('service');
    expect(await here.way()).toBe('service');
    expect(asked()).toBe(1);
  });

  it('is a scope where that was chosen', async () => {
    manager('running\\n');
    expect(await units('scope').way()).toBe('scope');
  });

  it('is a session without the directory, and systemd is not asked', async () => {
    manager('running\\n');
    rmSync(paths.mark, { recursive: true });
    expect(await units().way()).toBe('session');
    expect(asked()).toBe(0);
  });

  it('is a session when something else lies at the path', async () => {
    manager('running\\n');
    rmSync(paths.mark, { recursive: true });
    writeFileSync(paths.mark, '');
    expect(await units().way()).toBe('session');
  });

  it('does not depend on the working directory', async () => {
    manager('running\\n');
    rmSync(paths.mark, { recursive: true });
    const planted = join(root, 'planted');
    mkdirSync(join(planted, ' ', 'run/systemd/system'), { recursive: true });
    mkdirSync(join(planted, 'run/systemd/system'), { recursive: true });
    const before = process.cwd();
    process.chdir(planted);
    try {
      expect(await units().way()).toBe('session');
    } finally {
      process.chdir(before);
    }
  });

  it.each(['offline\\n', '', 'unknown\\n', 'running\\nx', 'running x\\n', ' running\\n', 'RUNNING\\n'])(
    'is a session when systemctl says %j',
    async (state) => {
      manager(state, 1);
      expect(await units().way()).toBe('session');
    },
  );

  it.each(['initializing', 'stopping', 'maintenance'])(
    'is refused as retryable while systemd is %s, and asked again',
    async (state) => {
      manager(`${state}\\n`, 1);
      const here = units();
      await expect(here.way()).rejects.toMatchObject({ code: 'unavailable', retryable: true });
      await expect(
        here.start({ unit: 'fairlead-x', program: '/bin/true', args: [], budgetMs: 1000 }),
      ).resolves.toMatchObject({
        end: 'not-started',
        why: 'untrusted',
      });
      await expect(here.state('fairlead-x')).rejects.toMatchObject({ code: 'unavailable' });
      manager('running\\n');
      expect(await here.way()).toBe('service');
    },
  );

  it('is an error when systemctl is missing, killed or odd, and asked again next time', async () => {
    const here = units();
    await expect(here.way()).rejects.toMatchObject({ code: 'unavailable' });
    manager('running\\n', 4);
    await expect(here.way()).rejects.toMatchObject({ code: 'unavailable' });
    writeFileSync(paths.systemctl, '#!/bin/sh\nkill -9 $$\n');
    await expect(here.way()).rejects.toMatchObject({ code: 'unavailable' });
    manager('running\\n');
    expect(await here.way()).toBe('service');
  });

  it('is an error within the limit when systemctl hangs', async () => {
    writeFileSync(paths.systemctl, '#!/bin/sh\nexec /bin/sleep 60\n');
    chmodSync(paths.systemctl, 0o755);
    const before = performance.now();
    await expect(units().way()).rejects.toMatchObject({ code: 'unavailable' });
    expect(performance.now() - before).toBeLessThan(6000);
  });

  it('never takes silence of systemd for an idle unit', async () => {
    manager('running\\n');
    const here = units();
    expect(await here.way()).toBe('service');
    // From here on this systemctl fails at everything, as one without a bus does.
    await expect(here.state('fairlead-x')).rejects.toMatchObject({ code: 'unavailable' });
    await expect(here.kill('fairlead-x', 100)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is a session beside systemd where that was chosen, and systemd is not asked', async () => {
    manager('running\\n');
    expect(await units('session').way()).toBe('session');
    expect(asked()).toBe(0);
  });
});

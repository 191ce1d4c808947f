// R1, R3, R24: the argument vectors that systemd is given, and what follows when it will not play along: an error, never
// silently another way. The stand-ins are programs of the tests' own, and the units under test are the real ones.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backendOf, parseVolume } from '../../../src/backends/registry.js';
import { option } from '../../../src/core/argv.js';
import type { HelperEnd } from '../../../src/sys/ports.js';
import { KernelUnits } from '../../../src/sys/units.js';
import { quobyteSettings } from '../backends/settings.js';

const UNIT = 'fairlead-mount-00000000-c94ed34ada0acf45c1213beb1fc52ce6';
let root: string;
let helper: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fairlead-attack-'));
  chmodSync(root, 0o755);
  mkdirSync(join(root, 'mark'));
  helper = program('mount.quobyte', `printf '%s\\n' "$@" > ${root}/helper-args`);
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

function program(name: string, text: string): string {
  const path = join(root, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Units beside a systemd that answers so; `run` is what systemd-run does after it has written down its arguments. */
function units(choice: 'detect' | 'scope', run: string, show = ''): KernelUnits {
  return new KernelUnits({
    trustedDirs: [root],
    choice,
    manager: {
      mark: join(root, 'mark'),
      systemctl: program('systemctl', `case "$*" in *is-system-running*) echo running;; *) printf '${show}';; esac`),
      systemdRun: program('systemd-run', `printf '%s\\n' "$@" > ${root}/run-args\n${run}`),
    },
  });
}

const start = (of: KernelUnits, ...args: Parameters<KernelUnits['start']>[0]['args']): Promise<HelperEnd> =>
  of.start({ unit: UNIT, program: helper, args, budgetMs: 3000 });
const words = (file: string): readonly string[] => readFileSync(join(root, file), 'utf8').trim().split('\n');

const VOLUME = parseVolume('quobyte://192.168.1.1/volume-00001');
const mountWords = (clientConfig: string | null): Parameters<KernelUnits['start']>[0]['args'] => {
  const way = backendOf('quobyte').mountWay(VOLUME, quobyteSettings({ clientConfig }), '/base/leaf');
  return way.way === 'helper' ? way.args : [];
};

describe.each([
  ['without a client configuration', null, []],
  ['with one', '/etc/quobyte/client.cfg', ['-c', '/etc/quobyte/client.cfg']],
] as const)('the four argument vectors, %s:', (_, config, tail) => {
  const own = ['--disable-xattrs', '192.168.1.1/volume-00001', '/base/leaf', ...tail];

  it('as a service', async () => {
    expect(await start(units('detect', 'exit 0'), ...mountWords(config))).toMatchObject({ end: 'exited', status: 0 });
    const given = words('run-args');
    expect(given.slice(given.indexOf('--') + 1)).toEqual([helper, ...own]);
    const options = given.slice(0, given.indexOf('--'));
    expect(options.every((word) => word.startsWith('--'))).toBe(true);
    expect(options).toContain(`--unit=${UNIT}.service`);
    // The start is over when the helper is: systemd-run alone would return before anything is mounted.
    expect(options).toContain('--service-type=forking');
    expect(options.join(' ')).not.toMatch(/--user|--no-block|volume-00001|192\.168/);
  });

  it('as a scope', async () => {
    const run = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"';
    expect(await start(units('scope', run), ...mountWords(config))).toMatchObject({ end: 'exited', status: 0 });
    const given = words('run-args');
    expect(given.slice(given.indexOf('--') + 1)).toEqual([helper, ...own]);
    expect(given).toContain('--scope');
    expect(given.slice(0, given.indexOf('--')).join(' ')).not.toMatch(/--user|volume-00001|192\.168/);
    expect(words('helper-args')).toEqual(own);
  });

  it('directly', async () => {
    const session = new KernelUnits({ trustedDirs: [root], choice: 'session', hierarchies: [] });
    expect(await start(session, ...mountWords(config))).toMatchObject({ end: 'exited', status: 0 });
    expect(words('helper-args')).toEqual(own);
  });
});

describe('a unit that cannot be made', () => {
  it('because there is no bus is an error, and the helper is not started in another way', async () => {
    expect(await start(units('detect', 'echo "Failed to connect to bus" >&2; exit 1'), 'r/v', '/base/leaf')).toEqual({
      end: 'not-started',
      why: 'failed',
      detail: 'systemd refused to make the unit.',
    });
    expect(existsSync(join(root, 'helper-args'))).toBe(false);
  });

  it('because its name is taken is an error, and the helper is not started in another way', async () => {
    const taken = `Id=${UNIT}.service\\nLoadState=loaded\\nActiveState=active\\nControlGroup=/x\\n`;
    expect(await start(units('detect', 'exit 1', taken), 'r/v', '/base/leaf')).toMatchObject({
      end: 'not-started',
      why: 'name-in-use',
    });
    expect(existsSync(join(root, 'helper-args'))).toBe(false);
  });

  it('because systemd-run is not there is an error, and the helper is not started in another way', async () => {
    const without = units('detect', 'exit 0');
    rmSync(join(root, 'systemd-run'));
    expect(await start(without, 'r/v', '/base/leaf')).toMatchObject({ end: 'not-started', why: 'failed' });
    expect(existsSync(join(root, 'helper-args'))).toBe(false);
  });
});

describe('a value where an option is read', () => {
  it.each(['-o', '--help', '-', '--', '-ovolume'])('%j is refused before anything is started', async (value) => {
    for (const choice of ['detect', 'scope'] as const) {
      await expect(start(units(choice, 'exit 0'), option('-c'), value)).rejects.toThrow(RangeError);
    }
    const session = new KernelUnits({ trustedDirs: [root], choice: 'session', hierarchies: [] });
    await expect(start(session, value)).rejects.toThrow(RangeError);
    expect([existsSync(join(root, 'run-args')), existsSync(join(root, 'helper-args'))]).toEqual([false, false]);
  });
});

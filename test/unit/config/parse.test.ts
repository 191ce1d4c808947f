// The configuration promises: every default is there, every unsound value stops the start, and the message names line,
// setting and mend, for all faults at once.

import { describe, expect, test } from 'vitest';
import type { Config } from '../../../src/config.js';
import { parseConfig } from '../../../src/config/parse.js';
import { FairleadError } from '../../../src/core/errors.js';

const PASSWD = 'root:x:0:0::/root:/bin/sh\nnova:x:64060:64061::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n';

function parsed(text: string, passwd = PASSWD): Config {
  return parseConfig(text, '/etc/fairlead/fairlead.toml', passwd);
}

function refusal(text: string): FairleadError {
  try {
    parsed(text);
  } catch (error) {
    if (error instanceof FairleadError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

test('an empty file gives the documented defaults', () => {
  const config = parsed('');
  expect(config).toMatchObject({
    stateDir: '/var/lib/fairlead',
    ledgerDir: '/var/lib/fairlead/ledger',
    runDir: '/run/fairlead',
    isolated: false,
    onVanish: 'report',
    healthIntervalMs: 30_000,
    helperStart: 'auto',
    trustedHelperDirs: ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
    trustedBaseOwners: [],
  });
  expect(config.backends.quobyte).toEqual({
    mountBase: '/var/lib/fairlead/mnt/quobyte',
    mountHelper: '/usr/sbin/mount.quobyte',
    unmountHelper: null,
    clientConfig: null,
    registries: [],
    mountTimeoutMs: 60_000,
    probeTimeoutMs: 5000,
    hardening: { nosuid: true, nodev: true, noexec: true, nosymfollow: true },
    accessUid: 0,
    accessGid: 0,
    driverCache: 'none',
    driverIo: 'native',
    rootSize: 'warn',
  });
  expect(config.backends.local).toMatchObject({ mountBase: '/var/lib/fairlead/mnt/local', roots: [] });
});

test('the configuration is frozen all the way down', () => {
  const config = parsed('[backend.local]\nroots = ["/srv/pool"]\n');
  expect(Object.isFrozen(config)).toBe(true);
  expect(Object.isFrozen(config.backends.local.hardening)).toBe(true);
  expect(Object.isFrozen(config.backends.local.roots)).toBe(true);
});

test('values are taken over, in the units they are written in', () => {
  const config = parsed(
    '[backend.quobyte]\nmount_timeout = "2m"\nprobe_timeout="250ms"\nclient_config = "/etc/q.cfg"\nnosuid = false\n',
  );
  expect(config.backends.quobyte).toMatchObject({
    mountTimeoutMs: 120_000,
    probeTimeoutMs: 250,
    clientConfig: '/etc/q.cfg',
  });
  expect(config.backends.quobyte.hardening.nosuid).toBe(false);
});

describe('a mount base', () => {
  const bad = [
    '',
    'rel/x',
    '/',
    '/a/../b',
    '/a/./b',
    '/a//b',
    '/a/',
    '/with blank',
    '/a\\u0000b',
    '/a\\nb',
    '-x',
    '/a$b',
    '/\\u202e',
  ];
  test.each(bad)('%j is refused', (base) => {
    const error = refusal(`\n[backend.quobyte]\nmount_base = "${base}"\n`);
    expect(error.code).toBe('config-invalid');
    expect(error.field).toBe('backend.quobyte.mount_base');
    expect(error.message).toContain('line 3: backend.quobyte.mount_base: must be an absolute path');
  });

  test('may not be shared between backends or lie in another, nor hold the state', () => {
    expect(refusal('[backend.local]\nmount_base = "/var/lib/fairlead/mnt/quobyte/x"').message).toContain(
      'backend.quobyte',
    );
    expect(refusal('[backend.local]\nmount_base = "/var/lib/fairlead/mnt/quobyte"').message).toContain('line 2');
    expect(refusal('state_dir = "/var/lib/fairlead/mnt/local"').field).toBe('state_dir');
  });
});

describe('a number', () => {
  test.each(['nan', '-1', '0.5', '9007199254740992', '1e3', '0x10', '0o17', '0b1', '1.0', '"7"', 'true', '4294967295'])(
    '%s is refused',
    (number) => {
      expect(refusal(`[backend.quobyte]\naccess_uid = ${number}`).message).toContain('line 2');
    },
  );
  test.each(['0', '107', '4294967294', '64_060'])('%s is taken', (number) => {
    expect(parsed(`[backend.quobyte]\naccess_uid = ${number}`).backends.quobyte.accessUid).toBe(
      Number(number.replace('_', '')),
    );
  });
  test('0x10 inside a string or a comment is no number', () => {
    expect(parsed('# 0x10\n[backend.local]\nroots = ["/srv/0x10"] # 0x10').backends.local.roots).toEqual(['/srv/0x10']);
  });
});

test.each(['60', '60 s', '1e3s', '0x10s', '-1s', '1.5s', '0s', '61m', ''])('mount_timeout %j is refused', (text) => {
  expect(refusal(`[backend.quobyte]\nmount_timeout = "${text}"`).field).toBe('backend.quobyte.mount_timeout');
});

describe('the user of the agent', () => {
  test('is looked up by name', () => {
    expect(parsed('run_as = "nova"').runAs).toEqual({ uid: 64060, gid: 64061 });
  });
  test('may be given in numbers', () => {
    expect(parsed('run_as = "1234:5678"').runAs).toEqual({ uid: 1234, gid: 5678 });
  });
  test('falls back to 61786 only where nobody wrote the setting', () => {
    expect(parsed('').runAs).toEqual({ uid: 61786, gid: 61786 });
    expect(refusal('run_as = "fairlead"').message).toContain('useradd');
    expect(parsed('', 'fairlead:x:990:991::/:/bin/false\n').runAs).toEqual({ uid: 990, gid: 991 });
  });
  test.each(['root', '0:0', '0:7', '7:0', 'nobody', '65534:7', '4294967295:7', '99999999999:1', '7', 'a b', ''])(
    '%j is refused',
    (user) => {
      expect(refusal(`run_as = "${user}"`).field).toBe('run_as');
    },
  );
});

describe('cache and io', () => {
  test.each(['bogus', 'NONE', ''])('cache %j is refused', (cache) => {
    expect(refusal(`[backend.quobyte]\ndriver_cache = "${cache}"`).field).toBe('backend.quobyte.driver_cache');
  });
  test('native with writeback is refused, with threads it is taken', () => {
    const error = refusal('[backend.quobyte]\ndriver_cache = "writeback"');
    expect(error.field).toBe('backend.quobyte.driver_io');
    expect(error.message).toContain('native');
    const config = parsed('[backend.quobyte]\ndriver_cache = "writeback"\ndriver_io = "threads"');
    expect(config.backends.quobyte).toMatchObject({ driverCache: 'writeback', driverIo: 'threads' });
  });
});

describe('what is wrong is told', () => {
  test('a misspelt setting gets its line and the name that was meant', () => {
    expect(refusal('isolated = true\n\n[backend.quobyte]\nmount_bas = "/x"').message).toContain(
      'line 4: backend.quobyte.mount_bas: there is no such setting; did you mean mount_base?',
    );
    expect(refusal('staet_dir = "/x"').message).toContain('did you mean state_dir?');
    expect(refusal('[backend.nfs]\nx=1').message).toContain('known here: quobyte, local');
  });
  test('all faults at once, in the order of the file', () => {
    const { message } = refusal('run_dir = "run"\nlog_level = "loud"\n[backend.local]\nroots = ["x"]\nzzz = 1\n');
    expect(
      message
        .split('\n')
        .slice(1)
        .map((line) => /line (\d+)/.exec(line)?.[1]),
    ).toEqual(['1', '2', '4', '5']);
  });
  test('text that is no TOML gets its line and never its content', () => {
    const { message } = refusal('isolated = false\nsecret = hunter2 oops\n');
    expect(message).toContain('line 2');
    expect(message).not.toContain('hunter2');
  });
  test('a value never stands in the message', () => {
    expect(refusal('[backend.quobyte]\nmount_base = "user:hunter2@x"').message).not.toContain('hunter2');
  });
  test('a key with control characters is escaped', () => {
    expect(refusal('"a\\u001b[31m\\nb" = 1').message).not.toMatch(/\u001b|\nb/);
  });
  test('a line is found behind multi-line strings, arrays, inline tables and dotted keys', () => {
    expect(refusal('state_dir = """\n/a\n[x]\n"""\n').message).toContain('line 1: state_dir');
    expect(refusal('trusted_helper_dirs = [\n  "/sbin", # ]\n  "/opt/=[",\n]\nrun_dir = "x"').message).toContain(
      'line 5: run_dir',
    );
    expect(refusal('# 1\nbackend = { quobyte = { mount_base = "x" } }').message).toContain(
      'line 2: backend.quobyte.mount_base',
    );
    expect(refusal('\nbackend.quobyte.mount_base = "x"').message).toContain('line 2: backend');
    expect(refusal('\n["backend".\'quobyte\']\n"mount_base" = "x"').message).toContain('line 3: backend');
  });
});

test('a helper outside the trusted directories is refused', () => {
  expect(refusal('[backend.quobyte]\nmount_helper = "/opt/mount.quobyte"').message).toContain('trusted_helper_dirs');
  expect(refusal('[backend.quobyte]\nmount_helper = "/usr/sbinx/mount.quobyte"').message).toContain(
    'trusted_helper_dirs',
  );
});

test.each(['reg 1', 'reg:0', 'reg:99999', 'user@reg', ''])('registry %j is refused', (registry) => {
  expect(refusal(`[backend.quobyte]\nregistries = ["${registry}"]`).field).toBe('backend.quobyte.registries');
});

test('a run_dir too long for a socket is refused', () => {
  expect(refusal(`run_dir = "/${'r'.repeat(91)}"`).message).toContain('91 bytes');
  expect(parsed(`run_dir = "/${'r'.repeat(90)}"`).runDir).toHaveLength(91);
});

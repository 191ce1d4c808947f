// What the words of the command line come to: a question for the agent, or a refusal that names what is at fault.

import { describe, expect, test } from 'vitest';
import { readArguments } from '../../../src/cli/arguments.js';
import type { Question } from '../../../src/cli/command.js';
import { FairleadError } from '../../../src/core/errors.js';

const URL_ = 'quobyte://reg1:7861/vol';

function question(words: readonly string[]): Question {
  const said = readArguments(words);
  if (said.said !== 'command' || said.command.question === null) throw new Error('no question');
  return said.command.question(said.given);
}

describe('what the agent is asked', () => {
  const cases: readonly [readonly string[], string, string, unknown][] = [
    [['connect', URL_, '--consumer', 'cli:a'], 'POST', '/v1/connect', { url: URL_, consumer: 'cli:a' }],
    [
      ['connect', '--read-only', '--timeout=7', '--disk', 'd', '--dry-run', '--consumer=cli:a', URL_],
      'POST',
      '/v1/connect',
      { url: URL_, disk: 'd', consumer: 'cli:a', readOnly: true, dryRun: true, timeoutMs: 7000 },
    ],
    [
      ['disconnect', URL_, '--disk', 'd', '--consumer', 'cli:a'],
      'POST',
      '/v1/disconnect',
      { url: URL_, disk: 'd', consumer: 'cli:a' },
    ],
    [['validate', URL_], 'POST', '/v1/validate', { url: URL_ }],
    [['ls'], 'GET', '/v1/mounts', null],
    [['doctor'], 'GET', '/v1/doctor', null],
    [['abort', 'a/../b'], 'DELETE', '/v1/mounts/a%2F..%2Fb/connection', null],
    [['lift-hold', 'ab', '--force'], 'DELETE', '/v1/mounts/ab/hold?force=true', null],
    [['lift-hold', 'a/../b'], 'DELETE', '/v1/mounts/a%2F..%2Fb/hold', null],
    [
      [
        'disk-config',
        URL_,
        '--disk',
        'd',
        '--format',
        'qcow2',
        '--target',
        'sda',
        '--bus',
        'scsi',
        '--read-only',
        '--xml',
      ],
      'POST',
      '/v1/disk-config',
      { url: URL_, disk: 'd', format: 'qcow2', target: 'sda', bus: 'scsi', readOnly: true },
    ],
    [['validate', '--', '-o,suid'], 'POST', '/v1/validate', { url: '-o,suid' }],
    [['vm', 'attach', 'web', URL_, '--disk', 'd'], 'POST', '/v1/vm/attach', { domain: 'web', url: URL_, disk: 'd' }],
    [
      [
        ...['--json', 'vm', 'attach', '--bus=scsi', 'web', '--target', 'sdc', URL_, '--disk', 'd'],
        ...['--format', 'qcow2', '--read-only', '--persistent', '--create', '10G', '--timeout', '9'],
      ],
      'POST',
      '/v1/vm/attach',
      {
        ...{ domain: 'web', url: URL_, disk: 'd', format: 'qcow2', target: 'sdc', bus: 'scsi' },
        ...{ readOnly: true, persistent: true, createBytes: 10_737_418_240, timeoutMs: 9000 },
      },
    ],
    [['vm', 'detach', 'web', 'vdb'], 'POST', '/v1/vm/detach', { domain: 'web', target: 'vdb' }],
    [['vm', 'detach', 'web', URL_, '--disk', 'd'], 'POST', '/v1/vm/detach', { domain: 'web', url: URL_, disk: 'd' }],
    [
      ['vm', 'extend', 'web', 'vdb', '512M'],
      'POST',
      '/v1/vm/extend',
      { domain: 'web', target: 'vdb', bytes: 536_870_912 },
    ],
    [['vm', 'ls'], 'GET', '/v1/vm/disks', null],
    [['vm', '--json', 'ls', '--timeout=60'], 'GET', '/v1/vm/disks?timeoutMs=60000', null],
  ];
  test.each(cases)('%j', (words, method, path, body) => {
    const asked = question(words);
    expect([asked.method, asked.path, asked.body ?? null]).toEqual([method, path, body]);
  });
});

test('the deadline is the one that was asked for, or the default of the command', () => {
  expect(question(['connect', URL_, '--consumer', 'cli:a']).deadlineMs).toBe(120_000);
  expect(question(['validate', URL_]).deadlineMs).toBe(10_000);
  expect(question(['validate', URL_, '--timeout', '3600']).deadlineMs).toBe(3_600_000);
});

describe('a word too many, too few or unknown', () => {
  const usage: readonly [readonly string[], string][] = [
    [[], 'command'],
    [['mount'], 'command'],
    [['connect', URL_], 'consumer'],
    [['connect', '--consumer', 'cli:a'], 'url'],
    [['connect', URL_, 'more', '--consumer', 'cli:a'], 'url'],
    [['ls', 'more'], 'argument'],
    [['ls', '--nonsense'], 'nonsense'],
    [['ls', '--__proto__'], '__proto__'],
    [['connect', URL_, '--consumer'], 'consumer'],
    [['connect', URL_, '--consumer', '--disk', 'd'], 'consumer'],
    [['connect', URL_, '--consumer', 'cli:a', '--consumer', 'cli:b'], 'consumer'],
    [['connect', URL_, '--consumer', 'cli:a', '--dry-run=no'], 'dry-run'],
    [['disk-config', URL_], 'disk'],
    [['vm'], 'command'],
    [['vm', 'mount'], 'command'],
    [['vm', '--disk', 'd'], 'command'],
    [['attach', 'web', URL_], 'command'],
    [['vm', 'attach'], 'domain'],
    [['vm', 'attach', 'web'], 'url'],
    [['vm', 'attach', 'web', URL_], 'disk'],
    [['vm', 'attach', 'web', URL_, 'vdb', '--disk', 'd'], 'url'],
    [['vm', 'attach', 'web', URL_, '--disk', 'd', '--create', '10GB'], 'create'],
    [['vm', 'detach', 'web'], 'target'],
    [['vm', 'detach', 'web', URL_], 'disk'],
    [['vm', 'detach', 'web', 'vdb', '--disk', 'd'], 'disk'],
    [['vm', 'detach', 'web', 'vdb', 'vdc'], 'target'],
    [['vm', 'extend', 'web', 'vdb'], 'size'],
    [['vm', 'extend', 'web', 'vdb', '1.5G'], 'size'],
    [['vm', 'ls', 'web'], 'argument'],
    ...['0', '-1', '0.5', '1e3', '0x10', '3601', 'abc', ''].map((seconds): [readonly string[], string] => [
      ['validate', URL_, `--timeout=${seconds}`],
      'timeout',
    ]),
  ];
  test.each(usage)('%j is refused by name', (words, field) => {
    const refused = (): unknown => question(words);
    expect(refused).toThrow(FairleadError);
    expect(refused).toThrow(expect.objectContaining({ code: 'invalid-argument', field }));
  });
});

describe('a word that is nearly right, or is called otherwise', () => {
  const meant: readonly [readonly string[], string][] = [
    [['conect', URL_], 'fairlead connect?'],
    [['vm', 'atach'], 'fairlead vm attach?'],
    [['vm', 'list'], 'fairlead vm ls?'],
    [['attach', 'web'], 'fairlead vm attach?'],
    [['extend', 'web'], 'fairlead vm extend?'],
    [['vm', 'connect'], 'fairlead connect?'],
    [['vm', 'attach', 'web', URL_, '--dsk', 'd'], '--disk?'],
    [['nonsense'], 'It is one of up, connect, disconnect, validate, ls, disk-config, doctor, lift-hold, abort, vm.'],
    [['vm', 'nonsense'], 'It is one of vm attach, vm detach, vm extend, vm ls.'],
    [['vm'], 'Say what to do; one of vm attach, vm detach, vm extend, vm ls.'],
  ];
  test.each(meant)('%j', (words, hint) => {
    expect(() => question(words)).toThrow(hint);
  });
});

test('help and version win over everything else that is said', () => {
  expect(readArguments(['--version'])).toEqual({ said: 'version' });
  expect(readArguments(['-h'])).toEqual({ said: 'help', topic: null });
  expect(readArguments(['connect', '-h'])).toMatchObject({ said: 'help', topic: { name: 'connect' } });
  expect(readArguments(['--json', 'ls', '--help'])).toMatchObject({ said: 'help', topic: { name: 'ls' } });
  expect(readArguments(['vm', '--help'])).toMatchObject({ said: 'help', topic: { name: 'vm' } });
  expect(readArguments(['help'])).toEqual({ said: 'help', topic: null });
  expect(readArguments(['help', '--json'])).toEqual({ said: 'help', topic: null });
  expect(readArguments(['help', 'vm'])).toMatchObject({ said: 'help', topic: { name: 'vm' } });
  expect(readArguments(['help', 'vm', 'attach'])).toMatchObject({ said: 'help', topic: { name: 'vm attach' } });
  expect(() => readArguments(['help', 'conect'])).toThrow(/Did you mean fairlead connect/);
  expect(readArguments(['vm', 'attach', 'x', '-h'])).toMatchObject({ said: 'help', topic: { name: 'vm attach' } });
});

// What the words of the command line come to: a question for the agent, or a refusal that names what is at fault.

import { describe, expect, test } from 'vitest';
import { readArguments } from '../../../src/cli/arguments.js';
import type { Question } from '../../../src/cli/commands.js';
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

test('help and version win over everything else that is said', () => {
  expect(readArguments(['--version'])).toEqual({ said: 'version' });
  expect(readArguments(['-h'])).toEqual({ said: 'help', command: null });
  expect(readArguments(['connect', '-h'])).toMatchObject({ said: 'help', command: { name: 'connect' } });
  expect(readArguments(['--json', 'ls', '--help'])).toMatchObject({ said: 'help', command: { name: 'ls' } });
});

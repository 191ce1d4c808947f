import { chmodSync, fstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_HELPER_OUTPUT_BYTES, MAX_TOOLS } from '../../../src/core/limits.js';
import { killSession, outputMemory, printed, runTool, startHelper, startNode, within } from '../../../src/sys/run.js';
import { until } from '../../rig/until.js';

const NOWHERE = { before: (): void => undefined, after: (): void => undefined };
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-run-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function script(text: string): string {
  const path = join(directory, 'script');
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('a tool of the system', () => {
  it('is told apart by status, standard output and standard error', async () => {
    const tool = script('echo out; echo err >&2; exit 3');
    expect(await runTool(tool, [], 5000)).toEqual({ end: 'exited', status: 3, stdout: 'out\n', stderr: 'err\n' });
    expect(await runTool(script('kill -9 $$'), [], 5000)).toEqual({ end: 'signalled' });
    expect(await runTool(join(directory, 'absent'), [], 5000)).toEqual({ end: 'not-started', errno: 'ENOENT' });
    chmodSync(tool, 0o644);
    expect(await runTool(tool, [], 5000)).toEqual({ end: 'not-started', errno: 'EACCES' });
  });

  it('sees a fixed environment, the root directory, and nothing on standard input, whatever ours are', async () => {
    const before = { ...process.env };
    Object.assign(process.env, {
      LC_ALL: 'de_DE',
      NODE_OPTIONS: '--inspect',
      LD_PRELOAD: '',
      SECRET: 'x',
      PATH: directory,
    });
    try {
      // What the shell itself adds (PWD, _, SHLVL) is not ours.
      const tool = script('pwd; cat; exec /usr/bin/env -u PWD -u _ -u SHLVL -u OLDPWD');
      const end = await runTool(tool, [], 5000);
      expect(end).toMatchObject({ stdout: '/\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\n' });
    } finally {
      process.env = before;
    }
  });

  it('gets its arguments as they are: nothing is a command, a pattern or a variable', async () => {
    const odd = ['a;touch X', '$(id)', '`id`', '*', '$HOME', 'a\nb', '"', "'", ' '];
    const end = await runTool(script('for a in "$@"; do printf "<%s>" "$a"; done'), odd, 5000);
    expect(end).toMatchObject({ stdout: odd.map((each) => `<${each}>`).join('') });
  });

  it('is killed when its time is up, with what it started in its session', async () => {
    const tool = script(`echo $$ > ${directory}/pid; /bin/sleep 60 & /bin/sleep 60`);
    const before = performance.now();
    expect(await runTool(tool, [], 300)).toEqual({ end: 'deadline' });
    expect(performance.now() - before).toBeLessThan(2000);
    const pid = Number(readFileSync(join(directory, 'pid'), 'utf8'));
    await until('the group is gone', () => {
      try {
        process.kill(-pid, 0);
        return false;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ESRCH';
      }
    });
  });

  it('is not waited for by whoever inherits its output', async () => {
    const before = performance.now();
    const end = await runTool(script(`/bin/sleep 60 & echo $! > ${directory}/pid; echo done`), [], 5000);
    expect(end).toMatchObject({ status: 0, stdout: 'done\n' });
    expect(performance.now() - before).toBeLessThan(2000);
    process.kill(Number(readFileSync(join(directory, 'pid'), 'utf8')), 'SIGKILL');
  });

  it('waits for others within its time, when too many are at work', async () => {
    const log = join(directory, 'log');
    const go = join(directory, 'go');
    writeFileSync(log, '');
    const tool = script(`printf + >> ${log}; while [ ! -e ${go} ]; do /bin/sleep 0.05; done; printf - >> ${log}`);
    const many = Array.from({ length: 3 * MAX_TOOLS }, () => runTool(tool, [], 60_000));
    await until('as many as may be are at work', () => readFileSync(log, 'utf8').length >= MAX_TOOLS);
    expect(await runTool(tool, [], 200)).toEqual({ end: 'deadline' });
    writeFileSync(go, '');
    for (const end of await Promise.all(many)) expect(end).toMatchObject({ end: 'exited', status: 0 });
    let atWork = 0;
    for (const mark of readFileSync(log, 'utf8')) {
      atWork += mark === '+' ? 1 : -1;
      expect(atWork).toBeLessThanOrEqual(MAX_TOOLS);
    }
  });

  it('must be named by an absolute path', async () => {
    await expect(runTool('true', [], 1000)).rejects.toThrow(RangeError);
    await expect(runTool('./true', [], 1000)).rejects.toThrow(RangeError);
  });
});

describe('what a helper prints', () => {
  it('is kept in order from both streams, and cut at the limit without harm to the helper', async () => {
    using output = outputMemory();
    const tool = script(
      'echo one; echo two >&2; /usr/bin/head -c 1000000 /dev/zero | /usr/bin/tr "\\0" x; echo $? >&2; exit 7',
    );
    const started = startHelper(tool, [], output, NOWHERE);
    expect(await started.ended).toEqual({ end: 'exited', status: 7 });
    const text = printed(output);
    expect(text.startsWith('one\ntwo\nxxxx')).toBe(true);
    expect(text.length).toBeLessThanOrEqual(MAX_HELPER_OUTPUT_BYTES);
    expect(text.length).toBeGreaterThan(MAX_HELPER_OUTPUT_BYTES - 8192);
    expect(fstatSync(output.fd).size).toBe(MAX_HELPER_OUTPUT_BYTES);
  });

  it('can be read while a daemon still holds it', async () => {
    using output = outputMemory();
    const tool = script('echo started; /usr/bin/setsid /bin/sleep 60 & echo $!');
    const started = startHelper(tool, [], output, NOWHERE);
    expect(await within(started.ended, 5000)).toEqual({ end: 'exited', status: 0 });
    const [first, pid] = printed(output).split('\n');
    expect(first).toBe('started');
    process.kill(Number(pid), 'SIGKILL');
  });
});

describe('a helper', () => {
  it('leads a session of its own', async () => {
    using output = outputMemory();
    const started = startHelper(
      script('/usr/bin/cut -d" " -f1,6 /proc/$$/stat; exec /bin/sleep 60'),
      [],
      output,
      NOWHERE,
    );
    await until('it has printed', () => printed(output).endsWith('\n'));
    expect(printed(output)).toBe(`${started.pid} ${started.pid}\n`);
    killSession(started.pid);
    expect(await started.ended).toEqual({ end: 'signalled', signal: 'SIGKILL' });
  });

  it('is born between the two calls that place it', () => {
    const calls: string[] = [];
    using output = outputMemory();
    startHelper('/bin/true', [], output, { before: () => calls.push('before'), after: () => calls.push('after') });
    expect(calls).toEqual(['before', 'after']);
  });
});

describe('a program of ours', () => {
  const echo =
    'process.on("message", (m) => process.send({ got: m, options: process.env.NODE_OPTIONS ?? null, extra: process.env.EXTRA }))';

  it('has a channel of messages and only the environment that it was given', async () => {
    const module = join(directory, 'echo.cjs');
    writeFileSync(module, echo);
    const child = startNode({ module, args: [], env: { EXTRA: 'yes' }, output: 'none' });
    const reply = new Promise((resolve) => {
      child.onMessage(resolve);
    });
    child.send({ hello: 1 });
    expect(await reply).toEqual({ got: { hello: 1 }, options: null, extra: 'yes' });
    const ended = new Promise((resolve) => {
      child.onEnd(resolve);
    });
    child.kill('SIGKILL');
    expect(await ended).toEqual({ end: 'signalled', signal: 'SIGKILL' });
    child.send({ late: true });
  });
});

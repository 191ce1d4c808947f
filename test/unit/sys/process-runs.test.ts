// Processes that held a dead mount: known by number and name, for as long as they run.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { processRuns } from '../../../src/sys/process-runs.js';

it('tells a running process from one that has ended, and from another one with its number', async () => {
  const child = spawn('/bin/sleep', ['60']);
  await new Promise((resolve) => child.once('spawn', resolve));
  const pid = child.pid ?? 0;
  const command = (): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  expect(processRuns({ pid, command: command() })).toBe(true);
  expect(processRuns({ pid, command: 'something-else' })).toBe(false);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  expect(processRuns({ pid, command: 'sleep' })).toBe(false);
});

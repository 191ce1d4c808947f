// The README's session where process 1 is not ours, or root is not all of root: in the environments of containers.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Container } from '../../rig/container.js';
import { FAIRLEAD, launch, ROOT, run, SANDBOX, type Run } from '../../rig/programs.js';
import { sessionOf, typeSession } from '../../rig/readme.js';
import { SystemdContainer, whyNoSystemd } from '../../rig/systemd-container.js';
import { until } from '../../rig/until.js';

const CONFIG = '/tmp/cluster/fairlead.toml';

/** Runs a program with the rights of the environment. */
function runIn({ entering: [program = '', ...words] }: Container, ...command: readonly string[]): Promise<Run> {
  return run(program, [...words, ...command]);
}

async function readsLinkOfInit(container: Container): Promise<boolean> {
  return (await runIn(container, '/usr/bin/readlink', '/proc/1/ns/mnt')).status === 0;
}

/** `fairlead up` with the sandbox's configuration, behind these words, and ended once it is ready. */
async function upOnce(container: Container, isolated: boolean, ...before: readonly string[]): Promise<Run> {
  const configure = `mkdir -p /tmp/cluster && ${SANDBOX} config /tmp/cluster | sed "s/^isolated.*/isolated = ${String(isolated)}/" > ${CONFIG}`;
  expect(await runIn(container, '/bin/sh', '-c', configure)).toMatchObject({ status: 0, stderr: '' });
  const [program, ...words] = [...container.entering, ...before, FAIRLEAD, 'up', '--config', CONFIG];
  const { child, output, ended } = launch(program, words);
  const isReady = (): boolean => output().includes('Fairlead is ready');
  await until('it is ready, or has ended', () => isReady() || child.exitCode !== null, 30_000);
  if (isReady()) await runIn(container, '/bin/sh', '-c', 'kill $(cat /tmp/cluster/fairlead/run/up.lock)');
  const { status, signal } = await ended;
  return { status, signal, stdout: output(), stderr: '' };
}

describe('the session of the README', () => {
  it('is found in it, with its two terminals', () => {
    const session = sessionOf(readFileSync(join(ROOT, 'README.md'), 'utf8'));
    expect(session.map((commands) => commands.length > 5)).toEqual([true, true]);
  });

  it.each([
    ['with all capabilities, as in a privileged container', 'all', true],
    ['without some of process 1’s capabilities', 'fewer', false],
    ['with Docker’s default capabilities and SYS_ADMIN', 'docker', false],
  ] as const)('works %s', async (_, capabilities, isReadable) => {
    await using container = await Container.start({ capabilities });
    expect(await readsLinkOfInit(container)).toBe(isReadable);
    await typeSession(container.entering);
  });
});

const why = whyNoSystemd();

describe.skipIf(why !== null)(`the session of the README${why === null ? '' : ` (skipped: ${why})`}`, () => {
  it('works in a privileged container of nspawn without systemd', async () => {
    await using container = await SystemdContainer.withoutSystemd();
    await typeSession(container.entering);
  });

  it('works on a host with systemd', async () => {
    await using container = await SystemdContainer.boot();
    await typeSession(container.entering);
  });
});

describe('a broker that is to serve the whole host', () => {
  it.each([
    ['with all capabilities', 'all'],
    ['where only the mount tables tell that this is process 1’s namespace', 'fewer'],
  ] as const)('starts %s', async (_, capabilities) => {
    await using container = await Container.start({ capabilities, prepare: 'mount --make-rshared /' });
    const { status, stdout } = await upOnce(container, false);
    expect(stdout).toContain('Fairlead is ready');
    expect(status).toBe(0);
  });

  it.each([
    ['by the link', 'all'],
    ['by the mount tables', 'fewer'],
  ] as const)('refuses another mount namespace, which it knows %s', async (_, capabilities) => {
    await using container = await Container.start({ capabilities, prepare: 'mount --make-rshared /' });
    const { status, stdout } = await upOnce(container, false, '/usr/bin/unshare', '--mount', '--propagation', 'shared');
    expect(stdout).toMatch(
      /^fairlead: The broker is not in the host's mount namespace.* isolated = true\. \[config-invalid, isolated\]$/m,
    );
    expect(status).toBe(14);
  });

  it('says in one line what is the matter, and what to set, where nothing tells which namespace it is', async () => {
    await using container = await Container.start({
      capabilities: 'docker',
      prepare: 'mount -o remount,hidepid=ptraceable /proc; mount --make-rshared /',
    });
    const { status, stdout } = await upOnce(container, false);
    expect(stdout).toMatch(/^fairlead: The broker cannot find out .* isolated = true\. \[config-invalid, isolated\]$/m);
    expect(status).toBe(14);
    const isolated = await upOnce(container, true);
    expect(isolated.stdout).toContain('Fairlead is ready');
    expect(isolated.status).toBe(0);
  });
});

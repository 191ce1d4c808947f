// What keeps a mount busy and is no process: the disconnect that says `busy` names it, so that an operator knows what to
// take away. Each is asked on a volume of its own, of every backend.

import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { must, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { User } from '../../rig/user.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
/** Milliseconds within which a mount goes by itself after what kept it. */
const BY_ITSELF_MS = 60_000;

let host: Host;
let count = 0;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

/** Disconnects the last consumer; what the answer names. */
async function busyBy(volume: VolumeInUse): Promise<unknown> {
  const { body } = await volume.disconnect(ALICE);
  expect(body).toMatchObject({ outcome: 'busy', mounted: true });
  return body['holders'];
}

async function goesByItself(volume: VolumeInUse): Promise<void> {
  await until('it is released by itself', () => volume.mounts() === 0, BY_ITSELF_MS);
  await until('and forgotten', async () => (await volume.listed()) === undefined, BY_ITSELF_MS);
}

describe.each(['quobyte', 'local'])('a %s volume that is kept busy', (backend) => {
  async function connected(): Promise<VolumeInUse> {
    const name = `cause-${count++}`;
    const volume =
      backend === 'local' ? new VolumeInUse(host, host.localVolume(name)) : await VolumeInUse.served(host, name);
    expect((await volume.connect(ALICE)).status).toBe(0);
    return volume;
  }

  it.for([
    ['a file of it', () => Promise.resolve()],
    ['a file of it that has been removed since', (volume: VolumeInUse) => must('/bin/rm', volume.at('disk'))],
  ] as const)('by a loop device on %s: the device is named', async ([, meanwhile], { skip }) => {
    const volume = await connected();
    writeFileSync(volume.at('disk'), Buffer.alloc(1_048_576));
    const made = await run('losetup', ['--find', '--show', volume.at('disk')]);
    if (made.status !== 0) skip('this host has no loop devices to give');
    const device = made.stdout.trim();
    try {
      await meanwhile(volume);
      expect(await busyBy(volume)).toEqual([{ pid: 0, command: device, by: 'loop' }]);
    } finally {
      await must('losetup', '--detach', device);
    }
    await goesByItself(volume);
  });

  it('by a mount on a directory inside it: where that is', async () => {
    const volume = await connected();
    const inside = volume.at('inside');
    mkdirSync(inside);
    await must('/bin/mount', '-t', 'tmpfs', 'stranger', inside);
    expect(await busyBy(volume)).toEqual([{ pid: 0, command: inside, by: 'mount' }]);
    await must('/bin/umount', inside);
    await goesByItself(volume);
  });

  it('by a mount of somebody else on top of it: where that is', async () => {
    const volume = await connected();
    await must('/bin/mount', '-t', 'tmpfs', 'stranger', volume.mountpoint);
    expect(await busyBy(volume)).toEqual([{ pid: 0, command: volume.mountpoint, by: 'mount' }]);
    await must('/bin/umount', volume.mountpoint);
    await goesByItself(volume);
  });

  it('by a process: the process is named, and a removed file is no matter', async () => {
    const volume = await connected();
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await must('/bin/rm', volume.at('file'));
    expect(await busyBy(volume)).toMatchObject([{ pid: user.pid, by: 'descriptor' }]);
    await user.close('file');
    await goesByItself(volume);
  });
});

it('who uses a directory of a local volume through a leaf of its own keeps nothing but that leaf', async () => {
  const outer = new VolumeInUse(host, host.localVolume('outer'));
  const inner = new VolumeInUse(host, host.localVolume('outer/inner'));
  for (const volume of [outer, inner]) expect((await volume.connect(ALICE)).status).toBe(0);
  await using ofOuter = await User.start();
  await using ofInner = await User.start();
  await ofOuter.open('file', outer.at('file'));
  await ofInner.open('file', inner.at('file'));
  expect(await busyBy(outer)).toMatchObject([{ pid: ofOuter.pid, by: 'descriptor' }]);
  await ofOuter.close('file');
  await goesByItself(outer);
  expect(await busyBy(inner)).toMatchObject([{ pid: ofInner.pid, by: 'descriptor' }]);
  await ofInner.close('file');
  await goesByItself(inner);
});

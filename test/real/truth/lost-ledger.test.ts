// The ledger is lost while volumes are in use. Mounts are recognised by what they are and held, and nothing that Fairlead advises takes
// one from its users.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Host, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { adviceOf, VolumeInUse, type Finding } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
afterEach(() => host.shutDown());

async function loseTheLedger(): Promise<void> {
  await host.crash();
  const state = join(host.dir, 'fairlead/state');
  for (const name of readdirSync(state)) rmSync(join(state, name), { recursive: true });
  await host.up();
}

describe('a volume in use when the ledger is lost', () => {
  it.each(['quobyte', 'local'])('is held, and known by its URL, if it is a %s one', async (backend) => {
    host = await Host.boot(WITHOUT_LIBVIRT);
    const volume =
      backend === 'local' ? new VolumeInUse(host, host.localVolume('kept')) : await VolumeInUse.served(host, 'kept');
    expect((await volume.connect(ALICE)).status).toBe(0);
    writeFileSync(volume.at('file'), 'alice’s');
    await loseTheLedger();

    expect(await volume.listed()).toMatchObject({ hold: 'inherited', url: volume.url, state: 'mounted' });
    expect((await volume.listed())?.verdict).not.toBe('foreign');
    for (const finding of await volume.findings()) expect(adviceOf(finding)).not.toMatch(/umount/);
    expect((await volume.validate()).verdict).toBe('healthy');
    expect(readFileSync(volume.at('file'), 'utf8')).toBe('alice’s');

    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(volume.mounts()).toBe(1);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'still-used', mounted: true });
    expect((await host.ask('lift-hold', volume.leaf)).status).toBe(0);
    await host.ask('disconnect', volume.url, '--consumer', ALICE);
    expect(await volume.connect(BOB)).toMatchObject({ status: 0 });
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
  });

  it('is not given out as healthy if it is a local one whose directory was replaced before', async () => {
    host = await Host.boot(WITHOUT_LIBVIRT);
    const volume = new VolumeInUse(host, host.localVolume('moved'));
    expect((await volume.connect(ALICE)).status).toBe(0);
    writeFileSync(volume.at('file'), 'alice’s');
    renameSync(join(host.localRoot, 'moved'), join(host.localRoot, 'away'));
    mkdirSync(join(host.localRoot, 'moved'));
    await loseTheLedger();

    expect((await volume.connect(BOB)).status).not.toBe(0);
    expect(volume.mounts()).toBe(1);
    expect(readFileSync(volume.at('file'), 'utf8')).toBe('alice’s');
    for (const finding of (await host.ask('doctor')).body['findings'] as Parameters<typeof adviceOf>[0][]) {
      expect(adviceOf(finding)).not.toMatch(/umount/);
    }
  });
});

/** Where libvirt leaves traces on a host; those of this one are hidden in the mount namespace of the test run. */
const LIBVIRT = ['/etc/libvirt', '/var/lib/libvirt', '/run/libvirt'];

describe('on a host whose libvirt is down from the start', () => {
  beforeEach(async () => {
    for (const directory of LIBVIRT) {
      mkdirSync(directory, { recursive: true });
      await run('/bin/mount', ['-t', 'tmpfs', 'test', directory]);
    }
  });
  afterEach(async () => {
    for (const directory of LIBVIRT) await run('/bin/umount', [directory]);
  });

  it('a mount that a domain may use is not lifted without force, and doctor names the libvirt that is down', async () => {
    host = await Host.boot();
    const volume = new VolumeInUse(host, await host.volume('guest'));
    expect((await volume.connect(ALICE)).status).toBe(0);
    mkdirSync('/etc/libvirt/qemu');
    const domain = `<domain><devices><disk><source file='${volume.at('disk')}'/></disk></devices></domain>`;
    writeFileSync('/etc/libvirt/qemu/web.xml', domain);
    await host.crash();
    rmSync(join(host.dir, 'fairlead/state/ledger'), { recursive: true });
    await host.up();

    expect(await volume.listed()).toMatchObject({ hold: 'inherited' });
    const findings = (await host.ask('doctor')).body['findings'] as Finding[];
    expect(findings.map(adviceOf).join('\n')).not.toContain('lift-hold');
    expect(findings[0]).toMatchObject({ subject: 'ledger' });
    expect(findings).toContainEqual(expect.objectContaining({ subject: 'libvirt', severity: 'error' }));
    expect(await host.ask('lift-hold', volume.leaf)).toMatchObject({ status: 6, error: { code: 'busy' } });
    expect([(await volume.listed())?.hold, volume.mounts()]).toEqual(['inherited', 1]);
    expect((await host.ask('lift-hold', volume.leaf, '--force')).status).toBe(0);
    await until('it goes', () => volume.mounts() === 0, 30_000);
  });

  it.each([
    ['lifted where nothing of libvirt is there', [], 0],
    ['kept where its state is there', ['/var/lib/libvirt/qemu'], 6],
  ])('the hold is %s', async (_, traces, status) => {
    for (const directory of traces) mkdirSync(directory);
    host = await Host.boot();
    const volume = new VolumeInUse(host, await host.volume('guest'));
    expect((await volume.connect(ALICE)).status).toBe(0);
    await loseTheLedger();
    expect((await host.ask('lift-hold', volume.leaf)).status).toBe(status);
  });
});

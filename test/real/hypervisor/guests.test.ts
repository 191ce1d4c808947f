// Disks of real guests through a real libvirtd. The domains have no system: they sit in their BIOS, so hot-plugging works and a guest that
// lets go of a disk does not exist.

import { chmodSync, chownSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Libvirtd } from '../../rig/libvirt.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { Bench, imageInfo, IMAGE_USER, qemuImg } from './bench.js';

const MIB = 1_048_576;

let libvirtd: Libvirtd;
let bench: Bench;
let volume: Awaited<ReturnType<Bench['localVolume']>>;
let uuid: string;
let name: string;
let count = 0;

beforeAll(async () => {
  libvirtd = await Libvirtd.start();
  bench = await Bench.boot((toml) => `${toml}\n[libvirt]\noutside_images = ["/var/lib/libvirt/outside"]\n`);
  await run('/bin/mkdir', ['-p', '/var/lib/libvirt/outside']);
});
afterAll(async () => {
  await bench.shutDown();
  await libvirtd.shutDown();
});
beforeEach(async () => {
  count += 1;
  name = `guest-${count}`;
  volume = await bench.localVolume(`guests-${count}`);
  uuid = await libvirtd.boot({ name });
});

const image = async (disk: string, format: 'raw' | 'qcow2' = 'raw', more: readonly string[] = []): Promise<string> => {
  const path = join(volume.dir, disk);
  await qemuImg(
    'create',
    '-q',
    '-f',
    format,
    ...more,
    path,
    ...(more.includes('-b') && !more.includes('-u') ? [] : ['8M']),
  );
  chownSync(path, IMAGE_USER.uid, IMAGE_USER.gid);
  return path;
};
const which = (disk = 'disk', domain = uuid): object => ({ domain, volume: volume.url, disk });
const plug = (more: object = {}, budgetMs?: number): Promise<unknown> => {
  const plain = { format: 'raw', target: 'vdb', bus: 'virtio', access: 'read-write', options: {}, scope: 'running' };
  return bench.tell('plug', { ...which(), ...plain, ...more }, budgetMs);
};
const liveXml = (): Promise<string> => libvirtd.virsh('dumpxml', name);
const nextXml = (): Promise<string> => libvirtd.virsh('dumpxml', '--inactive', name);

describe('a disk is plugged', () => {
  it('into the running domain, once, and seen there', async () => {
    await image('disk');
    expect(await plug({ options: { serial: 'vol-1' } })).toEqual({ changed: true });
    expect(await liveXml()).toContain(`<source file='${volume.mountpoint}/disk'`);
    expect(await nextXml()).not.toContain('vdb');
    expect(await plug({ options: { serial: 'vol-1' } })).toEqual({ changed: false });
    expect(await bench.ask('domain', { name })).toMatchObject({
      ok: {
        uuid,
        running: true,
        disks: [{ target: 'vdb', path: `${volume.mountpoint}/disk`, serial: 'vol-1', live: true, persistent: false }],
      },
    });
  });

  it('for the next start, too; and into a stopped domain for that alone', async () => {
    await image('disk');
    expect(await plug({ scope: 'both' })).toEqual({ changed: true });
    for (const xml of [await liveXml(), await nextXml()]) expect(xml).toContain('vdb');
    await libvirtd.virsh('destroy', name);
    await image('other');
    const more = { disk: 'other', target: 'vdc' };
    expect(await plug(more)).toBe('invalid-argument scope');
    expect(await plug({ ...more, scope: 'both' })).toEqual({ changed: true });
    expect(await nextXml()).toContain(`${volume.mountpoint}/other`);
  });

  it('only at its place and in its way', async () => {
    await image('disk');
    await image('other');
    expect(await plug()).toEqual({ changed: true });
    expect(await plug({ target: 'vdc' })).toBe('conflict target');
    expect(await plug({ disk: 'other' })).toBe('conflict target');
    expect(await plug({ access: 'read-only' })).toBe('conflict access');
    expect(await plug({ bus: 'scsi', target: 'vdb' })).toBe('conflict bus');
    expect(await plug({ options: { serial: 'x' } })).toBe('conflict options.serial');
    expect((await liveXml()).match(/<disk /g)).toHaveLength(1);
  });

  it('once, however many ask at the same time', async () => {
    await image('disk');
    const answers = await Promise.all(Array.from({ length: 6 }, () => plug()));
    expect(answers.filter((one) => (one as { changed?: boolean }).changed === true)).toHaveLength(1);
    expect(answers.filter((one) => (one as { changed?: boolean }).changed === false)).toHaveLength(5);
  });

  it('unless it is not there, or is no plain file', async () => {
    expect(await plug()).toBe('not-found disk');
    symlinkSync('/etc/shadow', join(volume.dir, 'disk'));
    expect(await plug()).toBe('foreign disk');
    await run('/usr/bin/mkfifo', [join(volume.dir, 'fifo')]);
    expect(await plug({ disk: 'fifo' })).toBe('foreign disk');
    await run('/bin/mkdir', [join(volume.dir, 'dir')]);
    expect(await plug({ disk: 'dir' })).toBe('foreign disk');
    await image('file');
    expect(await plug({ disk: 'file', domain: '00000000-0000-4000-8000-000000000001' })).toBe('not-found domain');
    expect(await liveXml()).not.toContain('<disk ');
  });

  it('unless its owner is somebody else who keeps it', async () => {
    const path = await image('disk');
    chownSync(path, 12_345, 12_345);
    chmodSync(path, 0o600);
    expect(await plug()).toBe('permission-denied disk');
    expect(statSync(path).uid).toBe(12_345);
    expect(await liveXml()).not.toContain('<disk ');
  });
});

describe('a qcow2', () => {
  const refused = 'permission-denied disk';

  it('that rests on nothing, or on a file beside it, is plugged with what it rests on', async () => {
    await image('base');
    const path = await image('disk', 'qcow2', ['-b', 'base', '-F', 'raw']);
    expect(await plug({ format: 'qcow2' })).toEqual({ changed: true });
    expect(await liveXml()).toContain(`<source file='${volume.mountpoint}/base'`);
    expect(statSync(path).size).toBeGreaterThan(0);
  });

  it.each([
    ['a file of the host', ['-b', '/etc/shadow', '-F', 'raw']],
    ['another volume', ['-b', '../other/disk', '-F', 'raw']],
    ['a directory above', ['-b', './base', '-F', 'raw']],
    ['a protocol', ['-b', 'nbd:localhost:10809', '-F', 'raw']],
    ['JSON', ['-b', 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}', '-F', 'raw']],
  ])('that rests on %s is refused', async (_, more) => {
    await image('disk', 'qcow2', ['-u', ...more]);
    expect(await plug({ format: 'qcow2' })).toBe(refused);
    expect(await liveXml()).not.toContain('<disk ');
  });

  it('whose base is a qcow2 that rests on a file of the host is refused', async () => {
    await qemuImg(
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-b',
      '/etc/shadow',
      '-F',
      'raw',
      join(volume.dir, 'base'),
      '8M',
    );
    chownSync(join(volume.dir, 'base'), IMAGE_USER.uid, IMAGE_USER.gid);
    await qemuImg('create', '-q', '-f', 'qcow2', '-u', '-b', 'base', '-F', 'qcow2', join(volume.dir, 'disk'), '8M');
    chownSync(join(volume.dir, 'disk'), IMAGE_USER.uid, IMAGE_USER.gid);
    expect(await plug({ format: 'qcow2' })).toBe(refused);
  });

  it('with an outside data file is refused', async () => {
    const path = join(volume.dir, 'disk');
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${bench.host.dir}/outside-data`, path, '8M');
    chownSync(path, IMAGE_USER.uid, IMAGE_USER.gid);
    expect(await plug({ format: 'qcow2' })).toBe(refused);
  });

  it('may rest on what the configuration allows, but not through a link', async () => {
    const outside = '/var/lib/libvirt/outside';
    await qemuImg('create', '-q', '-f', 'raw', `${outside}/base-${count}`, '8M');
    chmodSync(`${outside}/base-${count}`, 0o644);
    await image('disk', 'qcow2', ['-b', `${outside}/base-${count}`, '-F', 'raw']);
    expect(await plug({ format: 'qcow2' })).toEqual({ changed: true });
    symlinkSync('/etc/shadow', `${outside}/link-${count}`);
    await qemuImg(
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-b',
      `${outside}/link-${count}`,
      '-F',
      'raw',
      join(volume.dir, 'other'),
      '8M',
    );
    chownSync(join(volume.dir, 'other'), IMAGE_USER.uid, IMAGE_USER.gid);
    expect(await plug({ disk: 'other', format: 'qcow2', target: 'vdc' })).toBe('foreign disk');
  });

  it('that is asked for as raw is raw', async () => {
    await image('disk', 'qcow2', ['-b', '/etc/hostname', '-F', 'raw']);
    expect(await plug({ format: 'raw' })).toEqual({ changed: true });
    expect(await liveXml()).toContain("type='raw'");
    expect(await liveXml()).not.toContain('/etc/hostname');
  });

  it('that is none is refused', async () => {
    await image('disk');
    expect(await plug({ format: 'qcow2' })).toBe(refused);
  });
});

describe('a disk is unplugged', () => {
  it('from a stopped domain at once, and again without a change', async () => {
    await image('disk');
    await plug({ scope: 'both' });
    await libvirtd.virsh('destroy', name);
    expect(await bench.tell('unplug', which())).toEqual({ changed: true });
    expect(await nextXml()).not.toContain('<disk ');
    expect(await bench.tell('unplug', which())).toEqual({ changed: false });
  });

  it('from a guest that keeps it: not, and that is said, in time; asked again, the same', async () => {
    await image('disk');
    await plug({ scope: 'both' });
    for (let round = 0; round < 2; round += 1) {
      const began = Date.now();
      expect(await bench.tell('unplug', which(), 3000)).toBe('busy disk');
      expect(Date.now() - began).toBeLessThan(4000);
      expect(await liveXml()).toContain('vdb');
      expect(await nextXml()).toContain('vdb');
    }
    // The guest restarts, and lets go by that.
    await libvirtd.virsh('reset', name);
    await until('the guest lets go', async () => !(await liveXml()).includes('vdb'), 20_000);
    expect(await bench.tell('unplug', which())).toEqual({ changed: true });
    expect(await nextXml()).not.toContain('<disk ');
  });

  it('only if it is the one that was named', async () => {
    await image('disk');
    await image('other');
    await plug();
    expect(await bench.tell('unplug', which('other'))).toEqual({ changed: false });
    expect(await liveXml()).toContain('vdb');
  });
});

describe('a disk grows', () => {
  const grow = (bytes: number, more: object = {}): Promise<unknown> =>
    bench.tell('grow', { ...which(), format: 'raw', bytes, ...more });

  it.each(['raw', 'qcow2'] as const)('(%s) through the running domain that has it, and never back', async (format) => {
    const path = await image('disk', format);
    await plug({ format });
    expect(await grow(16 * MIB, { format })).toEqual({ changed: true, by: 'hypervisor', bytes: 16 * MIB });
    expect(await imageInfo(path)).toMatchObject({ format, 'virtual-size': 16 * MIB });
    expect(await grow(16 * MIB, { format })).toEqual({ changed: false, by: 'hypervisor', bytes: 16 * MIB });
    expect(await grow(8 * MIB, { format })).toBe('invalid-argument bytes');
    expect(await libvirtd.virsh('domblkinfo', name, 'vdb')).toMatch(/Capacity:\s+16777216/);
  });

  it.each(['raw', 'qcow2'] as const)('(%s) through qemu-img where no domain has it', async (format) => {
    const path = await image('disk', format);
    await plug({ format, scope: 'both' });
    await libvirtd.virsh('destroy', name);
    expect(await grow(16 * MIB, { format })).toEqual({ changed: true, by: 'image', bytes: 16 * MIB });
    expect(await imageInfo(path)).toMatchObject({ format, 'virtual-size': 16 * MIB });
    expect(await grow(16 * MIB, { format })).toEqual({ changed: false, by: 'image', bytes: 16 * MIB });
    expect(await grow(8 * MIB, { format })).toBe('invalid-argument bytes');
  });

  it('in all domains that have it', async () => {
    await image('disk');
    const second = await libvirtd.boot({ name: `${name}-second` });
    const options = { shareable: true };
    expect(await plug({ options })).toEqual({ changed: true });
    expect(await plug({ options, domain: second })).toEqual({ changed: true });
    expect(await grow(16 * MIB)).toEqual({ changed: true, by: 'hypervisor', bytes: 16 * MIB });
    for (const domain of [name, second]) {
      expect(await libvirtd.virsh('domblkinfo', domain, 'vdb')).toMatch(/Capacity:\s+16777216/);
    }
  });

  it('not under another running domain, as its disk or below one', async () => {
    await image('disk');
    await plug({ scope: 'both' });
    await libvirtd.virsh('destroy', name);
    const second = await libvirtd.boot({ name: `${name}-second` });
    expect(await plug({ domain: second })).toEqual({ changed: true });
    expect(await grow(16 * MIB)).toBe('busy disk');
    await libvirtd.virsh('destroy', second);
    const third = await libvirtd.boot({ name: `${name}-third` });
    await image('overlay', 'qcow2', ['-b', 'disk', '-F', 'raw']);
    expect(await plug({ domain: third, disk: 'overlay', format: 'qcow2' })).toEqual({ changed: true });
    expect(await grow(16 * MIB)).toBe('busy disk');
  });

  it('only if the domain has it', async () => {
    await image('disk');
    expect(await grow(16 * MIB)).toBe('not-found disk');
    expect(await grow(16 * MIB, { domain: '00000000-0000-4000-8000-000000000001' })).toBe('not-found domain');
  });

  it('with what it rests on as the header says, and with nothing that is not allowed', async () => {
    const base = await image('base');
    const path = await image('disk', 'qcow2', ['-b', 'base', '-F', 'raw']);
    await plug({ format: 'qcow2', scope: 'both' });
    await libvirtd.virsh('destroy', name);
    expect(await grow(16 * MIB, { format: 'qcow2' })).toMatchObject({ changed: true, by: 'image' });
    expect(await imageInfo(path)).toMatchObject({ 'virtual-size': 16 * MIB, 'backing-filename': 'base' });
    expect(statSync(base).size).toBe(8 * MIB);
    await qemuImg('rebase', '-u', '-b', '/etc/shadow', '-F', 'raw', path);
    expect(await grow(32 * MIB, { format: 'qcow2' })).toBe('permission-denied disk');
  });
});

describe('what libvirt leaves behind', () => {
  it('a disk that libvirt gave back to root is the image user’s again when it is grown or plugged', async () => {
    const path = await image('disk', 'qcow2');
    await plug({ format: 'qcow2', scope: 'both' });
    await libvirtd.virsh('destroy', name);
    chownSync(path, 0, 0);
    chmodSync(path, 0o600);
    const request = { ...which(), format: 'qcow2', bytes: 16 * MIB };
    expect(await bench.tell('grow', request)).toMatchObject({ changed: true, by: 'image' });
    expect(statSync(path)).toMatchObject(IMAGE_USER);
  });

  it('but a file of root’s with a second name, or a set-id bit, stays root’s', async () => {
    for (const spoil of ['link', 'setuid']) {
      const path = await image(spoil);
      chownSync(path, 0, 0);
      chmodSync(path, spoil === 'setuid' ? 0o4600 : 0o600);
      if (spoil === 'link') await run('/bin/ln', [path, `${path}-again`]);
      expect(await plug({ disk: spoil })).toBe('permission-denied disk');
      expect(statSync(path).uid).toBe(0);
    }
  });

  it('after a shutdown a disk of a FUSE volume can be plugged and grown as before', async () => {
    const quobyte = await bench.quobyteVolume(`guests-${count}`);
    const disk = { volume: quobyte.url, disk: 'disk', format: 'raw' };
    expect(await bench.tell('create', { ...disk, bytes: 8 * MIB })).toEqual({ created: true });
    expect(await plug({ ...disk, scope: 'both' })).toEqual({ changed: true });
    await libvirtd.virsh('destroy', name);
    // This is what makes it necessary: libvirt could not note on a FUSE volume whose the file was.
    expect(statSync(join(quobyte.mountpoint, 'disk'))).toMatchObject({ uid: 0, gid: 0 });
    expect(await bench.tell('grow', { ...which(), ...disk, bytes: 16 * MIB })).toMatchObject({ by: 'image' });
    await libvirtd.virsh('start', name);
    expect(await bench.tell('grow', { ...which(), ...disk, bytes: 32 * MIB })).toMatchObject({ by: 'hypervisor' });
  });
});

describe('with trouble', () => {
  it('a hung volume holds up its own requests, and no others', async () => {
    const hung = await bench.quobyteVolume(`hung-${count}`);
    await bench.host.sandbox('fault', `hung-${count}`, 'hang-unanswered');
    await image('disk');
    const began = Date.now();
    const stuck = plug({ volume: hung.url }, 3000).then((answer) => [answer, Date.now() - began] as const);
    const second = await libvirtd.boot({ name: `${name}-second` });
    expect(await plug({ domain: second })).toEqual({ changed: true });
    const [answer, took] = await stuck;
    expect(answer).toBe('hung');
    expect(took).toBeLessThan(4000);
    await bench.host.sandbox('heal', `hung-${count}`);
  });

  it('libvirt away is told at once, and it is found again', async () => {
    await image('disk');
    await libvirtd.down('SIGKILL');
    for (const verb of ['survey', 'plug'] as const) {
      const began = Date.now();
      expect(verb === 'survey' ? await bench.tell('survey', {}) : await plug()).toBe('unavailable');
      expect(Date.now() - began).toBeLessThan(2000);
    }
    await libvirtd.up();
    expect(await plug()).toEqual({ changed: true });
  });

  it('a libvirtd that does not answer costs the request its time, and no more', async () => {
    await image('disk');
    process.kill(libvirtd.pid, 'SIGSTOP');
    const began = Date.now();
    expect(await plug({}, 2000)).toBe('deadline-exceeded');
    expect(Date.now() - began).toBeLessThan(3000);
    process.kill(libvirtd.pid, 'SIGCONT');
    await until('it is there, or can be plugged', async () => (await plug()) !== 'deadline-exceeded', 20_000);
    expect(await plug()).toEqual({ changed: false });
  });

  it('killed in the middle of a plug, it is asked again and there is one disk', async () => {
    await image('disk');
    const pid = await bench.pid();
    const asked = plug().catch(() => 'lost');
    process.kill(pid, 'SIGKILL');
    await asked;
    await bench.pid(pid);
    await until('it answers again', async () => typeof (await plug().catch(() => 'lost')) === 'object', 20_000);
    expect((await liveXml()).match(/<disk /g)).toHaveLength(1);
  });
});

describe('what the agent is told', () => {
  it('of disks elsewhere: their target, and not where they lie', async () => {
    const elsewhere = join(bench.host.dir, 'elsewhere.img');
    writeFileSync(elsewhere, Buffer.alloc(MIB));
    chmodSync(bench.host.dir, 0o755);
    await libvirtd.virsh('attach-disk', name, elsewhere, 'vdc', '--subdriver', 'raw');
    const { ok } = await bench.ask('domain', { name });
    expect((ok as { disks: unknown[] }).disks).toMatchObject([{ target: 'vdc', path: null, live: true }]);
    expect(JSON.stringify(ok)).not.toContain('elsewhere');
    expect(readFileSync(elsewhere)).toHaveLength(MIB);
  });

  it('of the whole host: every domain, complete', async () => {
    expect(await bench.ask('survey', {})).toMatchObject({ ok: { complete: true } });
  });
});

// Images without libvirt: made once, never over anything, never through a link, never as root; and a volume that hangs holds up itself alone.

import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { alive } from '../../rig/host.js';
import { STRANGER } from '../../rig/identity.js';
import { frame } from '../../rig/peer.js';
import { descendants } from '../../rig/processes.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { Bench, imageInfo, IMAGE_USER } from './bench.js';

const MIB = 1_048_576;

let bench: Bench;
let count = 0;
let volume: Awaited<ReturnType<Bench['localVolume']>>;
/** Slows qemu-img down while it exists. */
let slow: string;
/** What stands between us and qemu-img, and where it writes who it is. */
let wrapper: string;
let told: string;

beforeAll(async () => {
  bench = await Bench.boot((toml) => {
    const bin = /trusted_helper_dirs = \["([^"]+)"/.exec(toml)?.[1] ?? '';
    wrapper = join(bin, 'slow-qemu-img');
    told = join(bin, 'told');
    writeFileSync(told, '', { mode: 0o666 });
    chmodSync(told, 0o666);
    slow = join(bin, 'slow');
    const tell = `{ id -u; id -G; ulimit -v; ulimit -c; pwd; env; } > ${told}`;
    const script = `#!/bin/sh
${tell}
if [ -e ${slow} ]; then /bin/sleep 30; fi
exec /usr/bin/qemu-img "$@"
`;
    writeFileSync(wrapper, script, { mode: 0o755 });
    chmodSync(wrapper, 0o755);
    return `${toml}\n[libvirt]\nqemu_img = "${wrapper}"\nsocket = "/nonexistent/libvirt-sock"\n`;
  });
});
afterAll(async () => {
  await bench.shutDown();
});
afterEach(() => {
  rmSync(slow, { force: true });
});
beforeEach(async () => {
  count += 1;
  volume = await bench.localVolume(`images-${count}`);
});

const create = (disk: string, more: object = {}): Promise<unknown> =>
  bench.tell('create', { volume: volume.url, disk, format: 'raw', bytes: MIB, ...more });

describe('an image is made', () => {
  it.each(['raw', 'qcow2'] as const)('as %s, of the image user, for nobody else', async (format) => {
    expect(await create('disk', { format, bytes: 8 * MIB })).toEqual({ created: true });
    const facts = statSync(join(volume.dir, 'disk'));
    expect({ uid: facts.uid, gid: facts.gid, mode: facts.mode & 0o7777 }).toEqual({ ...IMAGE_USER, mode: 0o600 });
    expect(await imageInfo(join(volume.dir, 'disk'))).toMatchObject({ format, 'virtual-size': 8 * MIB });
    expect(readdirSync(volume.dir)).toEqual(['disk']);
  });

  it('by a qemu-img that has that user and no other group, little memory and nothing of our environment', async () => {
    expect(await create('disk', { format: 'qcow2' })).toEqual({ created: true });
    const [uid, groups, memory, core, cwd, ...env] = readFileSync(told, 'utf8').trim().split('\n');
    expect([uid, groups]).toEqual([String(IMAGE_USER.uid), String(IMAGE_USER.gid)]);
    expect([memory, core, cwd]).toEqual(['1048576', '0', '/']);
    expect(env.map((line) => line.split('=')[0]).sort()).toEqual(['LC_ALL', 'PATH', 'PWD']);
  });

  it('not by a qemu-img that somebody else could have changed', async () => {
    chmodSync(wrapper, 0o775);
    expect(await create('disk')).toBe('helper-untrusted libvirt.qemu_img');
    chmodSync(wrapper, 0o755);
    expect(readdirSync(volume.dir)).toEqual([]);
  });

  it('in a FUSE volume too', async () => {
    const quobyte = await bench.quobyteVolume('made');
    const request = { volume: quobyte.url, disk: 'disk', format: 'qcow2', bytes: MIB };
    expect(await bench.tell('create', request)).toEqual({ created: true });
    expect(await bench.tell('create', request)).toEqual({ created: false });
    expect(readdirSync(quobyte.mountpoint)).toEqual(['disk']);
  });

  it('once, however many ask at the same time', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => bench.ask('create', request())));
    expect(answers.filter(({ ok }) => (ok as { created: boolean }).created)).toHaveLength(1);
    expect(readdirSync(volume.dir)).toEqual(['disk']);

    function request(): object {
      return { volume: volume.url, disk: 'disk', format: 'qcow2', bytes: MIB };
    }
  });

  it('never over what is there', async () => {
    const victim = join(volume.dir, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, join(volume.dir, 'link'));
    symlinkSync(join(volume.dir, 'nowhere'), join(volume.dir, 'dangling'));
    mkdirSync(join(volume.dir, 'directory'));
    await run('/usr/bin/mkfifo', [join(volume.dir, 'fifo')]);
    for (const name of ['victim', 'link', 'dangling', 'directory', 'fifo']) {
      expect(await create(name)).toEqual({ created: false });
    }
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(existsSync(join(volume.dir, 'nowhere'))).toBe(false);
  });

  it('while somebody keeps putting links in its place', async () => {
    const victim = join(bench.host.dir, 'outside-victim');
    writeFileSync(victim, 'precious');
    chownSync(victim, IMAGE_USER.uid, IMAGE_USER.gid);
    // Every unfinished name that appears is exchanged for a link to the victim.
    const attack = `for i in $(seq 1 3000); do for f in .fairlead-new-*; do [ -f "$f" ] && ln -sf ${victim} "$f"; done; done`;
    const attacking = run('/bin/bash', ['-c', attack], { cwd: volume.dir });
    for (let round = 0; round < 8; round += 1) await create(`disk-${round}`, { format: 'qcow2' });
    await attacking;
    expect(readFileSync(victim, 'utf8')).toBe('precious');
  });
});

describe('an image is not made', () => {
  it('where the image user may not write', async () => {
    chownSync(volume.dir, 0, 0);
    chmodSync(volume.dir, 0o755);
    expect(await create('disk')).toBe('permission-denied volume');
    expect(readdirSync(volume.dir)).toEqual([]);
  });

  it.each(['../disk', '/etc/shadow', '-disk', '.', 'a/b', 'a\nb', ''])('under the name %j', async (disk) => {
    const peer = await bench.dial().greet();
    const told = peer.ask('create', { volume: volume.url, disk, format: 'raw', bytes: MIB });
    if (disk === '') await expect(told).rejects.toThrow('hung up');
    else expect((await told).error?.code).toBe('invalid-argument');
    peer.close();
    expect(readdirSync(volume.dir)).toEqual([]);
  });

  it('in a volume that is not allowed, or not mounted, or of an odd size or format', async () => {
    expect(await create('disk', { volume: 'local:///etc/pool' })).toBe('permission-denied url');
    expect(await create('disk', { volume: bench.host.localVolume('unmounted') })).toBe('not-found volume');
    expect(await create('disk', { bytes: MIB + 1 })).toBe('invalid-argument bytes');
    expect(await create('disk', { format: 'vmdk' })).toBe('invalid-argument format');
    expect(readdirSync(volume.dir)).toEqual([]);
  });
});

describe('killed in the middle', () => {
  it('there is no disk, and no qemu-img goes on', async () => {
    writeFileSync(slow, '');
    const pid = await bench.pid();
    const asked = create('disk').catch(() => 'lost');
    const tool = await until('qemu-img runs', () => descendants(pid).find((one) => one.command.includes('sleep'))?.pid);
    const owner = lstatSync(`/proc/${tool}`).uid;
    process.kill(pid, 'SIGKILL');
    expect(await asked).toBe('lost');
    await until('qemu-img is gone', () => !alive(tool));
    expect(owner).toBe(IMAGE_USER.uid);
    await bench.pid(pid);
    rmSync(slow);
    const names = readdirSync(volume.dir);
    expect(names.filter((name) => !name.startsWith('.fairlead-new-'))).toEqual([]);
    expect(await create('disk')).toEqual({ created: true });
    // The rest of the house has not noticed.
    expect((await bench.host.ask('ls')).status).toBe(0);
  });

  it('by its own deadline, and says so', async () => {
    writeFileSync(slow, '');
    const began = Date.now();
    expect(await bench.tell('create', { volume: volume.url, disk: 'd', format: 'raw', bytes: MIB }, 1500)).toBe(
      'deadline-exceeded',
    );
    expect(Date.now() - began).toBeLessThan(2500);
    rmSync(slow);
    expect(readdirSync(volume.dir)).toEqual([]);
  });
});

describe('without libvirt', () => {
  it.each([
    ['survey', {}],
    ['domain', { name: 'guest' }],
  ])('%s is unavailable at once', async (verb, args) => {
    const began = Date.now();
    expect(await bench.tell(verb, args)).toBe('unavailable');
    expect(Date.now() - began).toBeLessThan(2000);
  });

  it('plug and grow are, too', async () => {
    await create('disk');
    const which = { domain: '00000000-0000-4000-8000-000000000001', volume: volume.url, disk: 'disk', format: 'raw' };
    const plug = { ...which, target: 'vdb', bus: 'virtio', access: 'read-write', options: {}, scope: 'running' };
    expect(await bench.tell('plug', plug)).toBe('unavailable');
    expect(await bench.tell('grow', { ...which, bytes: 2 * MIB })).toBe('unavailable');
  });
});

describe('a volume that hangs', () => {
  it.each(['hang-unread', 'hang-unanswered'])(
    '(%s) holds up itself alone, and for no longer than it may',
    async (kind) => {
      const hung = await bench.quobyteVolume(`hung-${kind}`);
      await bench.host.sandbox('fault', `hung-${kind}`, kind);
      const ask = async (disk: string): Promise<readonly [unknown, number]> => {
        const began = Date.now();
        const answer = await bench.tell('create', { volume: hung.url, disk, format: 'raw', bytes: MIB }, 2000);
        return [answer, Date.now() - began];
      };
      const first = ask('one');
      expect(await create('elsewhere')).toEqual({ created: true });
      const [answer, took] = await first;
      expect(answer).toBe('hung');
      expect(took).toBeLessThan(3000);
      expect((await ask('two'))[0]).toBe('hung');
      const pid = await bench.pid();
      const children = descendants(pid).length;
      expect(children).toBeLessThanOrEqual(1);
      await bench.host.sandbox('heal', `hung-${kind}`);
      await until('it is as before', async () => (await ask('three'))[0] !== 'hung', 15_000);
    },
  );
});

describe('who is not the agent', () => {
  it('is cut off; a frame too odd ends the connection', async () => {
    const stranger = (): unknown => bench.dial(STRANGER);
    try {
      stranger();
    } catch (error) {
      expect(String(error)).toMatch(/EACCES|EPERM/);
    }
    for (const bytes of [frame('{"id":1}'), frame('not json'), Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
      const peer = bench.dial();
      peer.send(bytes);
      await peer.hungUp();
    }
    const early = bench.dial();
    early.send(frame(JSON.stringify({ id: 1, verb: 'survey', budgetMs: 1000 })));
    await early.hungUp();
  });

  it('nor is a verb that is not in the table', async () => {
    for (const verb of ['exec', 'define', 'destroy', 'constructor', '__proto__', 'qemu-img']) {
      const peer = await bench.dial().greet();
      await expect(peer.ask(verb, {})).rejects.toThrow('hung up');
    }
  });
});

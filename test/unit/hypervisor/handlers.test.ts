// What the verbs decide, over a libvirt that answers late, wrongly or not at all.

import { beforeEach, describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import { type Export, leafOf } from '../../../src/core/volume.js';
import { bench, type Bench, disk, LEAF, OTHER, URL, UUID } from './bench.js';

const MIB = 1_048_576;
const which = { domain: UUID, volume: URL, disk: 'disk' };

let peer: Bench;
beforeEach(() => {
  peer = bench();
  peer.libvirt.define(UUID, true);
  peer.images.files.set(peer.path, { size: MIB });
});

const plug = (more: object = {}, budgetMs?: number): Promise<unknown> => {
  const plain = { format: 'raw', target: 'vdb', bus: 'virtio', access: 'read-write', options: {}, scope: 'running' };
  return peer.ask('plug', { ...which, ...plain, ...more }, budgetMs);
};
const unplug = (budgetMs = 700): Promise<unknown> => peer.ask('unplug', which, budgetMs);
const grow = (bytes: number, more: object = {}): Promise<unknown> =>
  peer.ask('grow', { ...which, format: 'raw', bytes, ...more });
const changes = (): readonly string[] => peer.libvirt.calls.filter((call) => /attach|detach|resize/.test(call));
const disks = (): unknown => peer.libvirt.domains.get(UUID)?.disks;

describe('plug', () => {
  it('attaches what is missing, and says so', async () => {
    expect(await plug({ scope: 'both' })).toEqual({ changed: true });
    expect(await plug({ scope: 'both' })).toEqual({ changed: false });
    expect(changes()).toEqual(['attach both']);
    expect(disks()).toMatchObject([{ path: peer.path, target: 'vdb', live: true, persistent: true }]);
  });

  it('adds the next start to a disk that only runs', async () => {
    await plug();
    expect(await plug({ scope: 'both' })).toEqual({ changed: true });
    expect(changes()).toEqual(['attach live', 'attach config']);
  });

  it('believes the domain, not the reply: a failure that did it is a success', async () => {
    peer.libvirt.after = (call) => {
      if (call === 'attach live') throw new FairleadError('unavailable', 'The connection was lost.');
    };
    expect(await plug()).toEqual({ changed: true });
  });

  it('believes the domain, not the reply: a success that did nothing is none', async () => {
    peer.libvirt.before = (call) => (call === 'attach live' ? true : undefined);
    expect(await plug()).toBe('deadline-exceeded');
  });

  it.each(['unavailable', 'deadline-exceeded'] as const)('does not know after %s, and undoes nothing', async (code) => {
    peer.libvirt.before = (call) => {
      if (call.startsWith('attach')) throw new FairleadError(code, 'Lost.');
      return undefined;
    };
    expect(await plug({ scope: 'both' })).toBe('deadline-exceeded');
    expect(changes()).toEqual(['attach both']);
  });

  it('does not know when the domain cannot be looked at afterwards', async () => {
    let attached = false;
    peer.libvirt.before = (call) => {
      if (call === 'attach live') attached = true;
      if (call === 'attach live') throw new FairleadError('conflict', 'Refused.');
      if (call === 'domain' && attached) throw new FairleadError('unavailable', 'Lost.');
      return undefined;
    };
    expect(await plug()).toBe('deadline-exceeded');
  });

  it('hands on what libvirt refused', async () => {
    peer.libvirt.before = (call) => {
      if (call === 'attach live') throw new FairleadError('invalid-argument', 'QEMU cannot.');
      return undefined;
    };
    expect(await plug()).toBe('invalid-argument');
  });

  it('takes the disk from the running domain again when it could not be noted for the next start', async () => {
    peer.libvirt.before = (call) => {
      if (call !== 'attach both') return undefined;
      peer.libvirt.change(UUID, () => [disk(peer.path)]);
      throw new FairleadError('helper-failed', 'The disk is full.');
    };
    expect(await plug({ scope: 'both' })).toBe('helper-failed');
    expect(changes()).toEqual(['attach both', 'detach live']);
    expect(disks()).toEqual([]);
  });

  it.each([
    ['target', { path: '/mnt/other' }],
    ['target', { target: 'vdc' }],
    ['bus', { bus: 'scsi' }],
    ['format', { format: 'qcow2' }],
    ['access', { readOnly: true }],
    ['options.serial', { serial: 'x' }],
  ])('refuses, naming %s, where the domain has %j', async (field, there) => {
    peer.libvirt.define(UUID, true, disk(peer.path, there));
    expect(await plug()).toBe(`conflict ${field}`);
    expect(changes()).toEqual([]);
  });

  it('refuses a file that is in the next start in another way', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path, { target: 'vdd', live: false, persistent: true }));
    expect(await plug()).toBe('conflict target');
  });

  it('looks at the image before libvirt sees it, as the user of images', async () => {
    peer.images.files.clear();
    expect(await plug()).toBe('not-found');
    peer.images.files.set(peer.path, { size: 0, odd: { kind: 'denied', rootOnly: false } });
    expect(await plug()).toBe('permission-denied');
    expect(peer.images.done).not.toContain('root');
    expect(changes()).toEqual([]);
  });

  it('takes up what is root’s alone, once, with root’s rights for that alone', async () => {
    peer.images.files.set(peer.path, { size: 0, odd: { kind: 'denied', rootOnly: true } });
    expect(await plug()).toEqual({ changed: true });
    const open = `open read ${peer.path}`;
    expect(peer.images.done).toEqual(['image-user', open, 'root', 'give', 'image-user', open]);
  });

  it('tells libvirt the whole chain of a qcow2, and the end of it', async () => {
    const leaf = peer.path.replace(/\/disk$/, '');
    peer.images.files.set(peer.path, { size: MIB, header: { backing: { name: 'base', format: 'qcow2' } } });
    peer.images.files.set(`${leaf}/base`, {
      size: MIB,
      header: { backing: { name: '/srv/images/root', format: 'raw' } },
    });
    peer.images.files.set('/srv/images/root', { size: MIB });
    expect(await plug({ format: 'qcow2' })).toEqual({ changed: true });
    const chain = [...peer.libvirt.xml.matchAll(/<source file="([^"]*)"/g)].map(([, path]) => path);
    expect(chain).toEqual([peer.path, `${leaf}/base`, '/srv/images/root']);
    expect(peer.libvirt.xml).toContain('<backingStore/>');
  });

  it.each([
    ['an undeclared format', { backing: { name: 'base', format: null } }],
    ['another format', { backing: { name: 'base', format: 'vmdk' } }],
    ['a file elsewhere', { backing: { name: '/etc/shadow', format: 'raw' } }],
    ['a protocol', { backing: { name: 'nbd:x', format: 'raw' } }],
    ['an outside data file', { dataFile: '/srv/images/data' }],
    ['an outside image with data of its own', { backing: { name: '/srv/images/odd', format: 'qcow2' } }],
    ['itself', { backing: { name: 'disk', format: 'qcow2' } }],
  ])('refuses a qcow2 that rests on %s', async (_, header) => {
    const leaf = peer.path.replace(/\/disk$/, '');
    peer.images.files.set(peer.path, { size: MIB, header });
    peer.images.files.set(`${leaf}/base`, { size: MIB });
    peer.images.files.set('/srv/images/data', { size: MIB });
    peer.images.files.set('/srv/images/odd', { size: MIB, header: { dataFile: 'data' } });
    expect(await plug({ format: 'qcow2' })).toBe('permission-denied disk');
    expect(changes()).toEqual([]);
  });

  it('once, however many ask: one after the other in a domain', async () => {
    const answers = await Promise.all([plug(), plug(), plug()]);
    expect(answers.map((one) => (one as { changed: boolean }).changed).sort()).toEqual([false, false, true]);
    expect(changes()).toEqual(['attach live']);
  });
});

describe('unplug', () => {
  it('takes it from the running domain and then from its next start', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path, { persistent: true }));
    expect(await unplug()).toEqual({ changed: true });
    expect(changes()).toEqual(['detach live', 'detach config']);
    expect(await unplug()).toEqual({ changed: false });
  });

  it('of a volume that is not allowed any more is still possible, and of one that is not mounted', async () => {
    const elsewhere = 'quobyte://elsewhere/vol';
    const path = peer.path.replace(LEAF, leafOf('elsewhere/vol' as Export));
    peer.mounted = null;
    peer.libvirt.define(UUID, true, disk(path));
    expect(await peer.ask('unplug', { ...which, volume: elsewhere })).toEqual({ changed: true });
  });

  it('waits for the guest, as long as it may', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path));
    peer.libvirt.before = (call) => {
      if (call !== 'detach live') return undefined;
      setTimeout(() => peer.libvirt.define(UUID, true), 100);
      return true;
    };
    expect(await unplug(3000)).toEqual({ changed: true });
  });

  it('is busy when the guest keeps it, and leaves its next start alone', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path, { persistent: true }));
    peer.libvirt.before = (call) => (call === 'detach live' ? true : undefined);
    const began = Date.now();
    expect(await unplug()).toBe('busy disk');
    expect(Date.now() - began).toBeLessThan(1700);
    expect(changes()).toEqual(['detach live']);
  });

  it('goes on where an earlier request was: that QEMU refuses a second one does not matter', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path));
    peer.libvirt.before = (call) => {
      if (call !== 'detach live') return undefined;
      setTimeout(() => peer.libvirt.define(UUID, true), 100);
      throw new FairleadError('helper-failed', 'already in the process of unplug');
    };
    expect(await unplug(3000)).toEqual({ changed: true });
  });

  it('hands on a refusal that has nothing to do with the guest', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path));
    peer.libvirt.before = (call) => {
      if (call === 'detach live') throw new FairleadError('permission-denied', 'No.');
      return undefined;
    };
    expect(await unplug()).toBe('permission-denied');
  });

  it('takes what an earlier plug, of which nobody heard, gives the domain yet', async () => {
    peer.libvirt.define(UUID, true);
    // A description of the domain does not wait for what is under way; a question about one of its disks does.
    peer.libvirt.before = (call) => {
      if (call !== 'info') return undefined;
      peer.libvirt.define(UUID, true, disk(peer.path));
      throw new FairleadError('invalid-argument', 'There was no such disk.');
    };
    expect(await unplug()).toEqual({ changed: true });
    expect(changes()).toEqual(['detach live']);
  });

  it.each(['busy', 'deadline-exceeded', 'unavailable'] as const)(
    'does not say that there is none while that cannot be known (%s)',
    async (code) => {
      peer.libvirt.define(UUID, true);
      peer.libvirt.before = (call) => {
        if (call === 'info') throw new FairleadError(code, 'An earlier call is not over.');
        return undefined;
      };
      expect(await unplug()).toBe(code);
    },
  );

  it('does not touch another disk', async () => {
    peer.libvirt.define(UUID, true, disk('/mnt/q/other/disk'), disk(null, { target: 'vdc' }));
    expect(await unplug()).toEqual({ changed: false });
    expect(changes()).toEqual([]);
  });
});

describe('grow', () => {
  it('through QEMU in every running domain that has it', async () => {
    for (const uuid of [UUID, OTHER]) {
      peer.libvirt.define(uuid, true, disk(peer.path, { target: uuid === UUID ? 'vdb' : 'vdc' }));
    }
    peer.libvirt.sizes.set(`${UUID} vdb`, MIB);
    peer.libvirt.sizes.set(`${OTHER} vdc`, MIB);
    expect(await grow(2 * MIB)).toEqual({ changed: true, by: 'hypervisor', bytes: 2 * MIB });
    expect(changes()).toEqual(['resize vdb', 'resize vdc']);
    expect(peer.images.done).toEqual([]);
  });

  it('goes on where it was: a domain that knows the size already is left alone', async () => {
    for (const uuid of [UUID, OTHER]) peer.libvirt.define(uuid, true, disk(peer.path));
    peer.libvirt.sizes.set(`${UUID} vdb`, 2 * MIB);
    peer.libvirt.sizes.set(`${OTHER} vdb`, MIB);
    expect(await grow(2 * MIB)).toMatchObject({ changed: true });
    expect(changes()).toEqual(['resize vdb']);
  });

  it('changes none of them when it would make one smaller', async () => {
    for (const uuid of [UUID, OTHER]) peer.libvirt.define(uuid, true, disk(peer.path));
    peer.libvirt.sizes.set(`${UUID} vdb`, MIB);
    peer.libvirt.sizes.set(`${OTHER} vdb`, 4 * MIB);
    expect(await grow(2 * MIB)).toBe('invalid-argument bytes');
    expect(changes()).toEqual([]);
  });

  it('does not believe a resize that did nothing', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path));
    peer.libvirt.before = (call) => (call.startsWith('resize') ? true : undefined);
    expect(await grow(2 * MIB)).toBe('helper-failed disk');
  });

  it('tells a guest of a size that the file has got elsewhere', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path));
    peer.images.files.set(peer.path, { size: 2 * MIB });
    expect(await grow(2 * MIB)).toEqual({ changed: false, by: 'hypervisor', bytes: 2 * MIB });
    expect(changes()).toEqual(['resize vdb']);
  });

  it('asks QEMU where it keeps the file from the user of images', async () => {
    peer.libvirt.define(UUID, true, disk(peer.path));
    peer.libvirt.sizes.set(`${UUID} vdb`, MIB);
    peer.images.files.set(peer.path, { size: 0, odd: { kind: 'denied', rootOnly: true } });
    expect(await grow(2 * MIB)).toMatchObject({ changed: true, by: 'hypervisor' });
    expect(peer.images.done).not.toContain('give');
  });

  it('through qemu-img where no running domain uses it', async () => {
    peer.libvirt.define(UUID, false, disk(peer.path, { live: false, persistent: true }));
    expect(await grow(2 * MIB)).toEqual({ changed: true, by: 'image', bytes: 2 * MIB });
    expect(await grow(2 * MIB)).toEqual({ changed: false, by: 'image', bytes: 2 * MIB });
    expect(await grow(MIB)).toBe('invalid-argument bytes');
    expect(peer.images.done.filter((one) => one.startsWith('resize'))).toHaveLength(1);
  });

  it.each([
    ['as its disk', { disks: [disk('PATH', { target: 'vdz' })], otherFiles: [] }],
    ['below its disk', { disks: [], otherFiles: ['PATH'] }],
    ['by another way to its mount', { disks: [disk(`/alias/${LEAF}//disk`, { target: 'vdz' })], otherFiles: [] }],
    ['by a way that cannot be told', { disks: [], otherFiles: [`/mnt/q/${LEAF}/x/../disk`] }],
    ['through a copy of the mount', { disks: [disk('/copy/disk', { target: 'vdz' })], otherFiles: [] }],
  ])('not while another running domain has it %s', async (_, has) => {
    peer.libvirt.define(UUID, false, disk(peer.path, { live: false, persistent: true }));
    peer.libvirt.define(OTHER, true);
    const { uuid, name } = peer.libvirt.domains.get(OTHER) ?? { uuid: OTHER, name: '' };
    peer.table = [`/mnt/q/${LEAF}`, '/copy']
      .map((mountPoint, index) => `${30 + index} 1 0:40 / ${mountPoint} rw - fuse.quobyte quobyte@reg1:7861/vol rw\n`)
      .join('');
    const here = JSON.parse(JSON.stringify(has).replaceAll('PATH', peer.path)) as typeof has;
    peer.libvirt.domains.set(OTHER, { uuid, name, running: true, remembered: [], ...here });
    expect(await grow(2 * MIB)).toBe('busy disk');
    expect(peer.images.done).toEqual([]);
  });

  it('not while a domain cannot be read', async () => {
    peer.libvirt.define(UUID, false, disk(peer.path, { live: false, persistent: true }));
    peer.libvirt.complete = false;
    expect(await grow(2 * MIB)).toBe('unavailable disk');
    expect(peer.images.done).toEqual([]);
  });

  it('not of a domain that does not have it, nor with another format', async () => {
    expect(await grow(2 * MIB)).toBe('not-found disk');
    expect(await grow(2 * MIB, { domain: OTHER })).toBe('not-found domain');
    peer.libvirt.define(UUID, false, disk(peer.path, { live: false, persistent: true, format: 'qcow2' }));
    expect(await grow(2 * MIB)).toBe('conflict format');
  });

  it('not of an encrypted image', async () => {
    peer.images.files.set(peer.path, { size: MIB, header: { encryption: 'luks' } });
    peer.libvirt.define(UUID, false, disk(peer.path, { live: false, persistent: true, format: 'qcow2' }));
    expect(await grow(2 * MIB, { format: 'qcow2' })).toBe('conflict disk');
  });
});

describe('create', () => {
  it('once', async () => {
    const request = { volume: URL, disk: 'new', format: 'qcow2', bytes: MIB };
    expect(await peer.ask('create', request)).toEqual({ created: true });
    expect(await peer.ask('create', request)).toEqual({ created: false });
    expect(peer.libvirt.calls).toEqual([]);
  });
});

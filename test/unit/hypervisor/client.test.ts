// The agent's side, over the real serving side and a pretended libvirt; and over a process that has been taken over.

import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { parseDomainName } from '../../../src/core/domains.js';
import { FairleadError } from '../../../src/core/errors.js';
import { encodeFrame, FrameDecoder } from '../../../src/core/frames.js';
import { parseDiskName } from '../../../src/core/names.js';
import { HypervisorClient } from '../../../src/hypervisor/client.js';
import { serve } from '../../../src/hypervisor/dispatch.js';
import { systemClock } from '../../../src/sys/clock.js';
import { pipe } from '../broker/pipe.js';
import { AGENT_UID, bench, type Bench, disk, URL, UUID } from './bench.js';

const which = { domain: UUID, volume: parseVolume(URL), disk: parseDiskName('disk', 'disk') };

async function withClient(use: (client: HypervisorClient, world: Bench) => Promise<void>): Promise<void> {
  const world = bench();
  const client = new HypervisorClient({
    clock: systemClock,
    dial: () => {
      const [mine, theirs] = pipe();
      serve(world.context, { uid: AGENT_UID, pid: 1 }, theirs);
      return Promise.resolve(mine);
    },
  });
  try {
    await use(client, world);
  } finally {
    client.close();
  }
}

describe('the agent', () => {
  it('gets all domains, in however many parts they come', () =>
    withClient(async (client, world) => {
      for (let number = 0; number < 3000; number += 1) {
        const uuid = `7d8a2c1e-0b5f-4c3d-9a6e-${String(number).padStart(12, '0')}` as typeof UUID;
        world.libvirt.define(uuid, true, disk(world.path));
      }
      const { domains, complete } = await client.survey(5000);
      expect(complete).toBe(true);
      expect(domains).toHaveLength(3000);
      expect(domains[0]?.disks).toEqual([disk(world.path)]);
    }));

  it('plugs, grows and unplugs', () =>
    withClient(async (client, world) => {
      world.libvirt.define(UUID, true);
      const made = { ...which, format: 'raw', bytes: 512 } as const;
      expect(await client.create(made, 1000)).toEqual({ created: true });
      const wanted = { target: 'vdb', bus: 'virtio', access: 'read-write', scope: 'running' } as const;
      const options = { serial: 'a', iotune: { total_bytes_sec: 10 }, blockSizes: { logical: 4096, physical: 4096 } };
      expect(await client.plug({ ...which, format: 'raw', ...wanted, options }, 1000)).toEqual({ changed: true });
      expect(world.libvirt.xml).toContain('<total_bytes_sec>10</total_bytes_sec>');
      expect(await client.domain(parseDomainName(UUID, 'domain'), 1000)).toMatchObject({ disks: [{ serial: 'a' }] });
      world.libvirt.after = (call) => {
        if (call === 'resize vdb') world.images.files.set(world.path, { size: 1024 });
      };
      expect(await client.grow({ ...made, bytes: 1024 }, 1000)).toMatchObject({ by: 'hypervisor' });
      expect(await client.unplug(which, 2000)).toEqual({ changed: true });
    }));

  it('gets errors with their field', () =>
    withClient(async (client) => {
      const asked = client.domain(parseDomainName('guest', 'domain'), 1000);
      await expect(asked).rejects.toMatchObject({ code: 'not-found', field: 'domain' });
    }));

  it.each([
    ['another result', { ok: { complete: 'yes' } }, 'internal'],
    ['a part that is none', { part: { domains: [{ uuid: 'x' }] } }, 'internal'],
    ['a part for a verb without parts', { part: {} }, 'internal'],
    ['another number', { id: 77, ok: { complete: true } }, 'unavailable'],
    ['words', { error: 'no' }, 'unavailable'],
  ])('believes nothing of a process that answers with %s', async (_, reply, code) => {
    const client = new HypervisorClient({
      clock: systemClock,
      dial: () => {
        const [mine, theirs] = pipe();
        const decoder = new FrameDecoder();
        theirs.onData((bytes) => {
          for (const { id, verb } of decoder.push(bytes).values as { id: number; verb: string }[]) {
            const odd =
              verb === 'domain' && 'part' in reply
                ? [
                    { id, part: {} },
                    { id, ok: {} },
                  ]
                : [{ id, ...reply }];
            const end = 'part' in reply ? [...odd, { id, ok: { complete: true } }] : odd;
            for (const one of verb === 'hello' ? [{ id, ok: { version: 1 } }] : end) theirs.send(encodeFrame(one));
          }
        });
        return Promise.resolve(mine);
      },
    });
    await expect(client.survey(500)).rejects.toMatchObject({ code });
    client.close();
  });
});

describe('what is found wrong', () => {
  const examined = async (change: (world: Bench) => Partial<Bench['context']>): Promise<unknown> => {
    const world = bench();
    const context = { ...world.context, ...change(world) };
    const [mine, theirs] = pipe();
    serve(context, { uid: AGENT_UID, pid: 1 }, theirs);
    const client = new HypervisorClient({ clock: systemClock, dial: () => Promise.resolve(mine) });
    const found = await client.examine(1000);
    client.close();
    return found;
  };
  const untrusted = () => ({ trusted: false, why: 'missing', detail: 'There is no such file.' }) as const;

  it('is nothing where all is well, and nothing where there is no libvirt', async () => {
    expect(await examined(() => ({}))).toEqual([]);
    expect(await examined(() => ({ hasLibvirt: () => false, trustQemuImg: untrusted }))).toEqual([]);
  });

  it('is a qemu-img that is missing, and a libvirt that cannot be asked', async () => {
    const found = await examined((world) => {
      world.libvirt.complete = false;
      return { trustQemuImg: untrusted };
    });
    expect(found).toMatchObject([
      { subject: 'libvirt', severity: 'warning' },
      { subject: 'qemu-img', severity: 'warning' },
    ]);
  });

  it('is a libvirt that does not answer, in its own words, with what helps one that hangs as well', async () => {
    const found = await examined((world) => {
      world.libvirt.survey = () => Promise.reject(new FairleadError('unavailable', 'libvirt does not answer.'));
      return {};
    });
    expect(found).toEqual([
      {
        subject: 'libvirt',
        severity: 'error',
        message: 'libvirt does not answer.',
        mend: 'systemctl restart libvirtd (or virtqemud; guests go on running); or [libvirt] enabled = "no"',
      },
    ]);
  });
});

// R21: the caller's record is never changed and never kept. Everything that goes in is frozen to its depth; a write would
// throw.

import { describe, expect, it } from 'vitest';
import { backendOf, parseVolume } from '../../../src/backends/registry.js';
import { describeDisk, diskXml } from '../../../src/core/disk.js';
import { parseAbsolutePath } from '../../../src/core/paths.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { Bench, ALICE } from '../engine/bench.js';
import { quobyteSettings } from '../backends/settings.js';

function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) frozen(part as object);
  return Object.freeze(value);
}

const volume = frozen(parseVolume('quobyte://reg/vol'));
const request = frozen({ volume, consumer: ALICE, disk: null, readOnly: false });
const context = Object.freeze({ deadlineMs: 5000, signal: new AbortController().signal });

describe('a frozen record', () => {
  it('goes through connect, plan, validate and disconnect, and is what it was', async () => {
    const before = JSON.stringify(request);
    const bench = new Bench();
    await bench.start();
    const { engine } = bench;
    await engine.planConnect(request, context);
    await engine.connect(request, context);
    await engine.validate(volume, context);
    expect((await engine.disconnect(request, context)).outcome).toBe('released');
    expect(JSON.stringify(request)).toBe(before);
    expect(bench.durable.leaves().size).toBe(0);
  });

  it('goes through every backend call', () => {
    const settings = frozen(quobyteSettings({ registries: ['reg'] }));
    const entry = frozen({
      mountId: 1,
      parentId: 0,
      dev: '0:1',
      root: '/',
      mountPoint: '/x',
      options: [],
      tags: [],
      fsType: 'fuse.quobyte',
      source: 'quobyte@reg/vol',
      superOptions: ['user_id=0'],
    });
    const quobyte = backendOf('quobyte');
    quobyte.authorise(volume, settings);
    quobyte.mountWay(volume, settings, '/x');
    expect(quobyte.recognises(entry, volume)).toBe(true);
    expect(quobyte.candidateExports(entry, [])).toEqual(['reg/vol']);
  });

  it('is described as a disk without being changed', () => {
    const choice = frozen({
      backend: 'quobyte',
      file: parseAbsolutePath(`/base/${leafOf('reg/vol' as Export)}/disk`, 'file'),
      format: 'raw',
      driver: { cache: 'none', io: 'native' },
      target: 'vdb',
      bus: 'virtio',
      access: 'read-write',
      options: {
        iotune: { total_bytes_sec: 1 },
        blockSizes: { logical: 512 },
        encryption: { secret: 's' },
        serial: 's',
      },
    } as const);
    expect(diskXml(frozen(describeDisk(choice)))).toContain('/disk"');
  });
});

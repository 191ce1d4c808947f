// The guides, word by word: every command that a guide tells its reader to type is typed, in order, and prints what the guide says.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Guest } from '../rig/guest/guest.js';
import { whyNoGuest } from '../rig/guest/image.js';
import { onFreshHost, withGuest, withUser } from '../rig/guide-host.js';
import { blocksOf, checkPrinted, Reader } from '../rig/guide.js';
import { mountTable } from '../rig/host.js';
import { whyNoNova } from '../rig/nova/compute.js';
import { ROOT } from '../rig/programs.js';
import { until } from '../rig/until.js';

const why = whyNoGuest();
const whyNot = why ?? whyNoNova('26');
/** Directories that the guides fill. */
const FILLED = ['/etc/fairlead', '/var/lib/fairlead', '/run/fairlead', '/tmp/cluster'];

/** Types all of a guide, on a host with this guest, and looks whether anything is left. */
async function follow(page: string, guest: Guest): Promise<void> {
  const blocks = blocksOf(readFileSync(join(ROOT, 'docs/guides', page), 'utf8'));
  expect(new Set(blocks.map(({ where }) => where))).toEqual(new Set(['host', 'terminal', 'guest']));
  {
    await using reader = new Reader();
    for (const block of blocks) {
      if (block.where === 'terminal') await reader.open(block);
      else if (block.where === 'host') checkPrinted(block, await reader.type(block));
      else checkPrinted(block, await guest.shell(block.commands));
    }
  }
  await until('nothing of it is mounted', () => !mountTable().some(({ fsType }) => fsType === 'fuse.quobyte'));
  expect(await guest.complaints()).toBe(0);
}

describe.skipIf(why !== null)(`the guide for KVM hosts${why === null ? '' : ` (skipped: ${why})`}`, () => {
  it('leads from nothing to a guest that reads its disk, and back', () =>
    onFreshHost(FILLED, () => withGuest((guest) => follow('kvm.md', guest))));
});

describe.skipIf(whyNot !== null)(`the guide for Nova${whyNot === null ? '' : ` (skipped: ${whyNot})`}`, () => {
  it('leads from nothing to a guest that reads its disk, and back', () =>
    withUser('nova', () =>
      onFreshHost([...FILLED, '/opt/fairlead-nova'], () => withGuest((guest) => follow('nova.md', guest))),
    ));
});

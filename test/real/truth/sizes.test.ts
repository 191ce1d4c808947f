// Disks of absurd size: a volume's owner makes a sparse file as large as its filesystem lets him. That concerns nobody but
// himself, and not even him: how large a disk is, Fairlead does not need to know.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** More bytes than a double counts one by one (2^53), and nearly as many as the kernel's off_t. */
const SIZES = ['9P', '7E'];

let host: Host;
/** A root of local volumes whose filesystem allows files of any size. */
let pool: string;
beforeAll(async () => {
  host = await Host.prepare({
    configure: (toml) =>
      toml.replace(/roots = \[(.*)\]/, (_, roots: string) => {
        pool = join(String(JSON.parse(roots)), '../pool');
        return `roots = [${roots}, ${JSON.stringify(pool)}]`;
      }),
  });
  mkdirSync(pool, { mode: 0o755 });
  expect((await run('/bin/mount', ['-t', 'tmpfs', 'pool', pool])).status).toBe(0);
  await host.up();
});
afterAll(async () => {
  await host.shutDown();
  await run('/bin/umount', [pool]);
});

it.each(SIZES)('a disk of %s is connected, and the others hear their answers', async (size) => {
  const directory = join(pool, `volume-${size}`);
  mkdirSync(directory, { mode: 0o755 });
  const url = `local://${directory}`;
  expect((await run('/usr/bin/truncate', ['-s', size, join(directory, 'disk')])).status).toBe(0);
  const other = new VolumeInUse(host, await host.volume(`other-${size}`));
  const huge = (consumer: string): Promise<unknown> =>
    host.ask('connect', url, '--consumer', consumer, '--disk', 'disk');

  // Several at once: an answer that the agent took for a broken one would end the connection for all of them.
  const [first, second, third] = await Promise.all([huge(ALICE), other.connect(ALICE), huge(BOB)]);
  for (const answer of [first, second, third])
    expect(answer).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
  const listed = JSON.stringify((await host.ask('ls')).body);
  expect(listed).toContain(ALICE);

  for (const consumer of [ALICE, BOB])
    expect((await host.ask('disconnect', url, '--consumer', consumer, '--disk', 'disk')).status).toBe(0);
  expect(await other.disconnect(ALICE)).toMatchObject({ body: { outcome: 'released' } });
});

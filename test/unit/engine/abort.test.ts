// Abort as the engine does it: whoever holds the lock, and with everything afterwards that a dead mount gets.

import { beforeEach, expect, it } from 'vitest';
import { ALICE, attached, Bench, codeOf, hanging, HUNG, recorded, VOLUME, watch } from './bench.js';

const context = { deadlineMs: 1000, signal: new AbortController().signal };

let bench: Bench;
beforeEach(async () => {
  bench = new Bench();
  bench.mounted(VOLUME, { holders: [{ pid: 7, command: 'qemu', by: 'descriptor' }] });
  bench.remember(recorded('mounted'), attached());
  bench.crash();
  await bench.start();
  bench.at(VOLUME).judgement = HUNG;
});

const listed = () => bench.engine.list().mounts[0];

it('says who used it, and replaces the mount for them', async () => {
  expect(await bench.engine.abort(VOLUME.leaf, context)).toMatchObject({ verdict: 'stale', usedBy: [ALICE] });
  expect(listed()?.verdict).toBe('stale');
  await bench.clock.pass(1000);
  expect([listed()?.verdict, listed()?.state, listed()?.needsRestart.length]).toEqual(['healthy', 'mounted', 1]);
  expect(bench.effects()).toContain('step detach-dead');
});

it('is what doctor names as the last way out', async () => {
  await bench.engine.validate(VOLUME, context);
  const [finding] = await bench.engine.examine(context);
  expect(finding?.mend).toBe(
    `Look at the storage service, then: fairlead validate ${VOLUME.url}; if its server will never answer again: fairlead abort ${VOLUME.leaf}`,
  );
});

it('waits for no lock: what has it may be what hangs', async () => {
  bench.once('observe', () => hanging());
  bench.connect();
  await bench.clock.pass(0);
  const aborted = watch(bench.engine.abort(VOLUME.leaf, context));
  await bench.clock.pass(0);
  expect(aborted.state).toBe('kept');
});

it('is refused for what does not hang, and for what is not recorded', async () => {
  await bench.engine.abort(VOLUME.leaf, context);
  const again = watch(bench.engine.abort(VOLUME.leaf, context));
  const unknown = watch(bench.engine.abort('0'.repeat(32) as typeof VOLUME.leaf, context));
  await bench.clock.pass(0);
  expect([codeOf(again), codeOf(unknown)]).toEqual(['conflict', 'not-found']);
});

it('a mount that was being let go is taken away', async () => {
  bench.at(VOLUME).busy = true;
  const ended = bench.disconnect();
  await bench.clock.pass(0);
  expect(ended.value?.outcome).toBe('hung');
  await bench.engine.abort(VOLUME.leaf, context);
  await bench.clock.pass(60_000);
  expect([listed(), bench.at(VOLUME).mounts]).toEqual([undefined, []]);
});

// Requests that meet each other, their deadlines, their clients' deaths and the end of the engine.

import { describe, expect, it } from 'vitest';
import type { DomainUuid } from '../../../src/core/domains.js';
import { FairleadError } from '../../../src/core/errors.js';
import type { DiskName } from '../../../src/core/names.js';
import {
  ALICE,
  Bench,
  BOB,
  codeOf,
  DEAD,
  DISK,
  diskFull,
  ending,
  gate,
  hanging,
  HUNG,
  mountOf,
  volumeOf,
  VOLUME,
  watch,
} from './bench.js';
import { complete, domain } from './surveys.js';
import { quiet } from './virtual-clock.js';

const UUID = '11111111-2222-4333-8444-555555555555' as DomainUuid;

async function started(): Promise<Bench> {
  const bench = new Bench();
  await bench.start();
  return bench;
}

async function withAlice(): Promise<Bench> {
  const bench = await started();
  await bench.connect().promise;
  bench.effects();
  return bench;
}

/** The next step of that kind waits for the gate. */
function holdUp(bench: Bench, call: string): ReturnType<typeof gate> {
  const held = gate();
  bench.once(call, async (proceed) => {
    await held.opened;
    return proceed();
  });
  return held;
}

const nothingIsLeft = (bench: Bench): void => {
  expect([bench.at(VOLUME).mounts.length, bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual([
    0,
    'absent',
    0,
  ]);
};

describe('equal requests at the same time', () => {
  it('have the effect of one', async () => {
    const bench = await started();
    const connects = Array.from({ length: 20 }, () => bench.connect());
    const replies = await Promise.all(connects.map(({ promise }) => promise));
    expect(replies.filter(({ changed }) => changed)).toHaveLength(1);
    expect(new Set(replies.map(({ attachment }) => attachment)).size).toBe(1);
    expect(bench.events.filter((event) => event === 'step mount')).toHaveLength(1);
    const disconnects = Array.from({ length: 20 }, () => bench.disconnect());
    const outcomes = (await Promise.all(disconnects.map(({ promise }) => promise))).map(({ outcome }) => outcome);
    expect(outcomes.sort()).toEqual([...Array<string>(19).fill('not-connected'), 'released']);
    nothingIsLeft(bench);
  });

  it('of two consumers keep the mount until the last has gone', async () => {
    const bench = await started();
    await Promise.all([bench.connect().promise, bench.connect(VOLUME, BOB).promise]);
    expect((await bench.disconnect().promise).usedBy).toEqual([BOB]);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
    expect((await bench.disconnect(VOLUME, BOB).promise).outcome).toBe('released');
  });

  it('for the same attachment with other arguments are a conflict, and change nothing', async () => {
    const bench = await withAlice();
    const other = bench.connect(VOLUME, ALICE, { readOnly: true });
    await quiet();
    expect(codeOf(other)).toBe('conflict');
    expect(bench.effects()).toEqual([]);
  });

  it('for another volume do not wait for one that hangs', async () => {
    const bench = await started();
    bench.once('step mount', hanging);
    bench.connect();
    await quiet();
    const other = bench.connect(volumeOf('vol1'));
    await quiet();
    expect(other.state).toBe('kept');
  });
});

describe('a deadline', () => {
  it('that passes while the helper works frees no lock before the helper is over, and undoes what it made', async () => {
    const bench = await started();
    const helper = holdUp(bench, 'step mount');
    const connect = bench.connect(VOLUME, ALICE, { deadlineMs: 1000 });
    await bench.clock.pass(1999);
    expect(codeOf(connect)).toBe('deadline-exceeded');
    const other = bench.connect(VOLUME, BOB, { deadlineMs: 1000 });
    await bench.clock.pass(1000);
    expect(codeOf(other)).toBe('deadline-exceeded');
    helper.open();
    await quiet();
    nothingIsLeft(bench);
  });

  it('that passes while the attachment is being written takes the attachment back, and the mount with it', async () => {
    const bench = await started();
    for (let index = 0; index < 3; index++) bench.once('commit', (proceed) => proceed());
    const disk = holdUp(bench, 'commit');
    const connect = bench.connect(VOLUME, ALICE, { deadlineMs: 1000 });
    await bench.clock.pass(2000);
    expect(codeOf(connect)).toBe('deadline-exceeded');
    bench.effects();
    disk.open();
    await quiet();
    expect(bench.effects()[0]).toBe('commit end-attachment');
    nothingIsLeft(bench);
  });

  it('that takes an attachment back whose unmount cannot begin leaves it to the caretaker', async () => {
    const bench = await started();
    for (let index = 0; index < 3; index++) bench.once('commit', (proceed) => proceed());
    const disk = holdUp(bench, 'commit');
    bench.once('commit', (proceed) => proceed());
    bench.once('commit', diskFull);
    bench.connect(VOLUME, ALICE, { deadlineMs: 1000 });
    await bench.clock.pass(2000);
    disk.open();
    await quiet();
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
    await bench.clock.pass(1000);
    nothingIsLeft(bench);
  });

  it('that takes an attachment back keeps the mount of the others', async () => {
    const bench = await withAlice();
    const disk = holdUp(bench, 'commit');
    bench.connect(VOLUME, BOB, { deadlineMs: 1000 });
    await bench.clock.pass(2000);
    disk.open();
    await bench.clock.pass(60_000);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it('that has passed before the first step begins nothing', async () => {
    const bench = await started();
    const look = holdUp(bench, 'observe');
    const connect = bench.connect(VOLUME, ALICE, { deadlineMs: 1000 });
    await bench.clock.pass(1000);
    look.open();
    await quiet();
    expect(codeOf(connect)).toBe('deadline-exceeded');
    expect(bench.effects()).toEqual([]);
  });

  it('that passes while a failure is being cleaned up after is answered with that failure', async () => {
    const bench = await started();
    bench.once('step mount', () => ending('refused', 'helper-failed'));
    bench.once('observe', (proceed) => proceed());
    bench.once('observe', hanging);
    const connect = bench.connect(VOLUME, ALICE, { deadlineMs: 1000 });
    await bench.clock.pass(2000);
    expect(codeOf(connect)).toBe('helper-failed');
  });

  it('of a disconnect is kept though the unmount hangs; the unmount goes on', async () => {
    const bench = await withAlice();
    const unmount = holdUp(bench, 'step unmount');
    const disconnect = bench.disconnect(VOLUME, ALICE, { deadlineMs: 1000 });
    await bench.clock.pass(1999);
    expect(codeOf(disconnect)).toBe('deadline-exceeded');
    unmount.open();
    await bench.clock.pass(60_000);
    nothingIsLeft(bench);
  });

  it.each(['connect', 'disconnect', 'liftHold'] as const)(
    'of %s is kept though the state disk stalls',
    async (verb) => {
      const bench = new Bench();
      bench.mounted(VOLUME);
      await bench.start();
      await bench.connect().promise;
      bench.always('commit', hanging);
      const context = { deadlineMs: 1000, signal: new AbortController().signal };
      const request = {
        connect: () => bench.connect(VOLUME, BOB, context),
        disconnect: () => bench.disconnect(VOLUME, ALICE, context),
        liftHold: () => watch<unknown>(bench.engine.liftHold({ leaf: VOLUME.leaf, force: false }, context)),
      }[verb]();
      await bench.clock.pass(1999);
      expect(codeOf(request)).toBe('deadline-exceeded');
      const looked = watch(bench.engine.validate(VOLUME, context));
      await quiet();
      expect(looked.value?.verdict).toBe('healthy');
    },
  );
});

describe('a client that goes away', () => {
  it('before the attachment is written leaves nothing behind', async () => {
    const bench = await started();
    const client = new AbortController();
    const helper = holdUp(bench, 'step harden');
    const connect = bench.connect(VOLUME, ALICE, { signal: client.signal });
    await quiet();
    client.abort();
    helper.open();
    await quiet();
    expect(codeOf(connect)).toBe('deadline-exceeded');
    nothingIsLeft(bench);
  });

  it('after a disconnect was begun does not stop it', async () => {
    const bench = await withAlice();
    const client = new AbortController();
    const unmount = holdUp(bench, 'step unmount');
    bench.disconnect(VOLUME, ALICE, { signal: client.signal });
    await quiet();
    client.abort();
    unmount.open();
    await quiet();
    nothingIsLeft(bench);
  });
});

describe('the end of the engine', () => {
  it('begins nothing for requests that still wait', async () => {
    const bench = await started();
    const helper = holdUp(bench, 'step mount');
    const first = bench.connect();
    await quiet();
    const waiting = [bench.disconnect(), bench.connect(VOLUME, BOB)];
    await quiet();
    const stopped = watch(bench.engine.stop());
    await quiet();
    expect(stopped.state).toBe('open');
    helper.open();
    await quiet();
    expect([first.state, ...waiting.map(codeOf), stopped.state]).toEqual([
      'kept',
      'unavailable',
      'unavailable',
      'kept',
    ]);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
    const late = bench.connect();
    await quiet();
    expect(codeOf(late)).toBe('unavailable');
  });

  it('does not wait for ever, and takes no mount away', async () => {
    const bench = await withAlice();
    bench.at(VOLUME).judgement = DEAD;
    bench.once('step detach-dead', hanging);
    bench.connect(VOLUME, BOB);
    await quiet();
    const stopped = watch(bench.engine.stop());
    await bench.clock.pass(8000);
    expect(stopped.state).toBe('kept');
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it('ends the background work', async () => {
    const bench = await withAlice();
    bench.at(VOLUME).busy = true;
    await bench.disconnect().promise;
    await bench.engine.stop();
    await quiet();
    expect([bench.clock.sleeping, bench.listeners.size]).toEqual([0, 0]);
    bench.at(VOLUME).busy = false;
    bench.effects();
    await bench.clock.pass(120_000);
    expect(bench.effects()).toEqual([]);
  });

  it('ends the background work that was at it just then', async () => {
    const bench = await withAlice();
    bench.at(VOLUME).busy = true;
    await bench.disconnect().promise;
    const unmount = holdUp(bench, 'step unmount');
    await bench.clock.pass(500);
    const stopped = watch(bench.engine.stop());
    await quiet();
    expect(stopped.state).toBe('open');
    unmount.open();
    await quiet();
    expect(stopped.state).toBe('kept');
    expect([bench.clock.sleeping, bench.listeners.size]).toEqual([0, 0]);
  });
});

describe('a disconnect', () => {
  it('is busy while somebody keeps the mount, names him, and is done when he has gone', async () => {
    const bench = await withAlice();
    const holder = { pid: 7, command: 'sh', by: 'directory' } as const;
    Object.assign(bench.at(VOLUME), { busy: true, holders: [holder] });
    expect(await bench.disconnect().promise).toMatchObject({ outcome: 'busy', mounted: true, holders: [holder] });
    expect(await bench.disconnect().promise).toMatchObject({ outcome: 'busy', mounted: true, usedBy: [] });
    expect(bench.engine.list().mounts[0]?.state).toBe('releasing');
    bench.at(VOLUME).busy = false;
    await bench.clock.pass(1000);
    nothingIsLeft(bench);
  });

  it('is busy though nobody can list who keeps the mount', async () => {
    const bench = await withAlice();
    bench.at(VOLUME).busy = true;
    bench.once('holders', () => Promise.reject(new FairleadError('deadline-exceeded', 'Late.')));
    expect((await bench.disconnect().promise).outcome).toBe('busy');
  });

  it('is hung, not busy, where the server does not answer; nothing is detached', async () => {
    const bench = await withAlice();
    Object.assign(bench.at(VOLUME), { busy: true, judgement: HUNG });
    expect((await bench.disconnect().promise).outcome).toBe('hung');
    await bench.clock.pass(300_000);
    expect(bench.events).not.toContain('step detach-dead');
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it.each(['unavailable', 'deadline-exceeded', 'resource-exhausted', 'stuck'] as const)(
    'does not call a mount busy that nobody tried to unmount (%s)',
    async (code) => {
      const bench = await withAlice();
      bench.once('step unmount', () => ending('refused', code));
      const disconnect = bench.disconnect();
      await quiet();
      expect(codeOf(disconnect)).toBe(code);
      await bench.clock.pass(1000);
      nothingIsLeft(bench);
    },
  );

  it('whose leaf directory could not be removed for want of a broker removes it later', async () => {
    const bench = await withAlice();
    for (let index = 0; index < 2; index++) {
      bench.once('step remove-leaf', () => ending('refused', 'unavailable'));
    }
    bench.disconnect();
    await bench.clock.pass(60_000);
    nothingIsLeft(bench);
  });

  it('is done though the leaf directory will not go for a reason of its own', async () => {
    const bench = await withAlice();
    bench.always('step remove-leaf', () => ending('refused', 'foreign'));
    expect((await bench.disconnect().promise).outcome).toBe('released');
    expect(bench.durable.leaves().size).toBe(0);
  });

  it('that finds the mount busy again and again leaves one attempt at a time behind it, each time', async () => {
    const bench = await withAlice();
    for (let round = 0; round < 2; round++) {
      bench.at(VOLUME).busy = true;
      for (let index = 0; index < 3; index++) await bench.disconnect().promise;
      bench.effects();
      await bench.clock.pass(500);
      expect(bench.effects().filter((event) => event === 'step unmount')).toHaveLength(1);
      bench.at(VOLUME).busy = false;
      await bench.clock.pass(60_000);
      nothingIsLeft(bench);
      await bench.connect().promise;
    }
  });

  it('leaves a stranger above the mount alone, and is done when it has gone', async () => {
    const bench = await withAlice();
    bench.at(VOLUME).mounts.push(mountOf({ recognised: false }));
    expect(await bench.disconnect().promise).toMatchObject({ outcome: 'busy', mounted: true });
    expect(bench.events).not.toContain('step unmount');
    bench.at(VOLUME).mounts.pop();
    await bench.clock.pass(60_000);
    nothingIsLeft(bench);
  });

  it('leaves a mount with a hold alone', async () => {
    const bench = new Bench();
    bench.mounted(VOLUME);
    await bench.start();
    await bench.connect().promise;
    expect(await bench.disconnect().promise).toMatchObject({
      outcome: 'still-used',
      mounted: true,
      usedBy: ['hold:inherited'],
    });
    await bench.clock.pass(300_000);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });
});

describe('a connect', () => {
  it('is refused where the volume hangs, is foreign, or does not stay', async () => {
    const bench = await started();
    bench.mounted(VOLUME, { judgement: HUNG });
    const hung = bench.connect();
    await quiet();
    expect(codeOf(hung)).toBe('hung');
    bench.mounted(VOLUME, { mounts: [mountOf({ recognised: false })] });
    const foreign = bench.connect();
    await quiet();
    expect(codeOf(foreign)).toBe('foreign');
    expect(bench.effects()).toEqual([]);
    const liar = volumeOf('vol1');
    bench.always('step mount', () => ({ end: 'done', changed: true }));
    const nothing = bench.connect(liar);
    await quiet();
    expect(codeOf(nothing)).toBe('unhealthy');
    expect(bench.at(liar).directory).toBe('absent');
  });

  it('whose undoing finds the mount busy leaves it to the caretaker', async () => {
    const bench = await started();
    Object.assign(bench.at(VOLUME), { disk: 'other', busy: true });
    const connect = bench.connect(VOLUME, ALICE, { disk: DISK });
    await quiet();
    expect([codeOf(connect), bench.engine.list().mounts[0]?.state]).toEqual(['foreign', 'releasing']);
    bench.at(VOLUME).busy = false;
    await bench.clock.pass(1000);
    nothingIsLeft(bench);
  });

  it.each([
    ['succeeds', 'regular'],
    ['fails', 'other'],
  ])('that finds the volume mounted by somebody else meanwhile, and %s, keeps it with a hold', async (_, disk) => {
    const bench = await started();
    Object.assign(bench.at(VOLUME), { disk });
    bench.once('step mount', () => {
      bench.mounted(VOLUME);
      return { end: 'done', changed: false };
    });
    const connect = bench.connect(VOLUME, ALICE, { disk: DISK });
    await quiet();
    expect(codeOf(connect)).toBe(disk === 'other' ? 'foreign' : 'kept');
    expect(bench.durable.usersOf(VOLUME.leaf)).toContain('hold:inherited');
    await bench.clock.pass(300_000);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it('is not tried again when mounting hangs, and leaves nothing', async () => {
    const bench = new Bench();
    await bench.start();
    bench.always('step mount', () => ending('unknown', 'hung'));
    const connect = bench.connect();
    await bench.clock.pass(1000);
    expect(codeOf(connect)).toBe('hung');
    expect(bench.events.filter((event) => event === 'step mount')).toHaveLength(1);
    expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
  });

  it('that only hardened a mount of somebody else keeps it, with a hold, when it fails', async () => {
    const bench = await started();
    bench.mounted(VOLUME, { mounts: [mountOf({ hardened: false })] });
    bench.once('step harden', () => ending('refused', 'internal'));
    const connect = bench.connect();
    await quiet();
    expect(codeOf(connect)).toBe('internal');
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual(['hold:inherited']);
    expect(bench.durable.operations.size).toBe(0);
  });

  it('detaches a dead mount above a foreign one, and mounts nothing on the foreign one', async () => {
    const bench = await started();
    bench.mounted(VOLUME, { mounts: [mountOf({ recognised: false }), mountOf()], judgement: DEAD });
    const connect = bench.connect();
    await quiet();
    expect(codeOf(connect)).toBe('foreign');
    expect(bench.effects().filter((event) => event.startsWith('step '))).toEqual(['step detach-dead']);
  });

  it('that fails while it replaces a dead mount of others leaves the replacing to the caretaker', async () => {
    const bench = await withAlice();
    bench.at(VOLUME).judgement = DEAD;
    for (let index = 0; index < 3; index++) bench.once('step mount', () => ending('refused', 'helper-failed'));
    const connect = bench.connect(VOLUME, BOB);
    await quiet();
    expect(codeOf(connect)).toBe('helper-failed');
    expect(bench.at(VOLUME).mounts).toHaveLength(0);
    await bench.clock.pass(60_000);
    expect(bench.at(VOLUME).mounts).toEqual([mountOf()]);
    expect(bench.durable.operations.size).toBe(0);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
  });

  it("for a volume whose leaf is another one's touches nothing of the other one, finished or not", async () => {
    const twin = { ...volumeOf('twin'), leaf: VOLUME.leaf };
    const bench = await withAlice();
    bench.at(VOLUME).judgement = DEAD;
    bench.once('step mount', () => ending('refused', 'helper-failed'));
    bench.connect(VOLUME, BOB);
    await quiet();
    bench.effects();
    const [connect, disconnect] = [bench.connect(twin, BOB), bench.disconnect(twin, ALICE)];
    await quiet();
    expect([codeOf(connect), codeOf(disconnect)]).toEqual(['foreign', 'foreign']);
    expect(bench.effects()).toEqual([]);
    await bench.clock.pass(60_000);
    expect(bench.durable.mounts.get(VOLUME.leaf)?.volume).toEqual(VOLUME);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
    // The same for one that nobody uses, and whose undoing waits for room on the disk.
    const other = await started();
    other.once('commit', (proceed) => proceed());
    const makeRoom = other.always('commit', diskFull);
    other.connect();
    await quiet();
    makeRoom();
    other.effects();
    other.connect(twin, BOB);
    await quiet();
    expect(other.effects()).toEqual([]);
  });

  it('tells who must be restarted when a dead mount was replaced', async () => {
    const bench = await withAlice();
    const holder = { pid: 7, command: 'qemu', by: 'descriptor' } as const;
    Object.assign(bench.at(VOLUME), { judgement: DEAD, holders: [holder] });
    bench.once('step detach-dead', () => ending('refused', 'busy'));
    bench.once('step detach-dead', (proceed) => proceed());
    bench.connect(VOLUME, BOB);
    await quiet();
    expect(bench.engine.list().mounts[0]?.needsRestart).toEqual([]);
    await bench.connect(VOLUME, BOB).promise;
    expect(bench.engine.list().mounts[0]?.needsRestart).toEqual([holder]);
  });

  it('names the guest, and the milder way, where a guest holds a dead mount', async () => {
    const bench = await withAlice();
    const guest = `vm:${UUID}` as typeof ALICE;
    const holder = { pid: 7, command: 'qemu-system-x86', by: 'descriptor' } as const;
    await bench.connect(VOLUME, guest).promise;
    Object.assign(bench.at(VOLUME), { judgement: DEAD, holders: [holder] });
    await bench.connect(VOLUME, BOB).promise;
    const found = await bench.engine.examine({ deadlineMs: 1000, signal: new AbortController().signal });
    const mend = found.map((one) => one.mend).find((text) => text.startsWith('Restart'));
    expect(mend).toBe(
      `Restart qemu-system-x86 (pid 7). Milder for the domain ${UUID}: fairlead vm detach ${UUID} ${VOLUME.url} --disk NAME, then fairlead vm attach ${UUID} with the words as before.`,
    );
  });

  it('names it by its name where that is known, and in a command by nothing that a shell or a program takes otherwise', async () => {
    const bench = new Bench();
    bench.evidence = { liftHolds: 'operator', orphans: 'report', ageMs: 60_000, isExpected: () => true };
    await bench.start();
    const holder = { pid: 7, command: 'qemu-system-x86', by: 'descriptor' } as const;
    await bench.connect(VOLUME, `vm:${UUID}` as typeof ALICE, { disk: "it's $(here)" as DiskName }).promise;
    const name = "--socket=x;'$(reboot)\u001b";
    bench.engine.takeEvidence(complete(domain(UUID, [`/mnt/${VOLUME.leaf}/it's $(here)`], { name })));
    Object.assign(bench.at(VOLUME), { judgement: DEAD, holders: [holder] });
    await bench.connect(VOLUME, BOB).promise;
    const found = await bench.engine.examine({ deadlineMs: 1000, signal: new AbortController().signal });
    const mend = found.map((one) => one.mend).find((text) => text.startsWith('Restart'));
    expect(mend).toContain(`fairlead vm detach ${UUID} ${VOLUME.url} --disk 'it'\\''s $(here)', then`);
    expect(mend).toContain("the domain --socket=x;'$(reboot)\\u{1b}: ");
    expect(mend).not.toMatch(/fairlead vm [a-z]+ [^0-9]/);
  });

  it('sends whoever runs guests by Nova to Nova', async () => {
    const bench = await withAlice();
    const holder = { pid: 7, command: 'qemu-system-x86', by: 'descriptor' } as const;
    await bench.connect(VOLUME, `nova:${UUID}` as typeof ALICE).promise;
    Object.assign(bench.at(VOLUME), { judgement: DEAD, holders: [holder] });
    await bench.connect(VOLUME, BOB).promise;
    const found = await bench.engine.examine({ deadlineMs: 1000, signal: new AbortController().signal });
    expect(found.map((one) => one.mend).find((text) => text.startsWith('Restart'))).toBe(
      `Restart qemu-system-x86 (pid 7). Milder for the domain ${UUID}: have Nova detach the volume, and attach it again.`,
    );
  });

  it('says that read-only is advisory where the mount is writable', async () => {
    const bench = await started();
    expect((await bench.connect(VOLUME, ALICE, { readOnly: true }).promise).notes).toHaveLength(1);
    expect((await bench.connect(VOLUME, BOB).promise).notes).toEqual([]);
  });
});

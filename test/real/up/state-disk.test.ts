// The disk of state_dir turns read-only, or stands still: what only reads goes on, what would write is refused with the disk's
// name, nothing is unmounted, SIGTERM ends it, and when the disk is back everything goes on by itself.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { until } from '../../rig/until.js';

/** Bytes of the disk. */
const DISK_BYTES = 33_554_432;
/** Seconds that a request is given. */
const TIMEOUT_S = '12';

/** A disk of its own below state_dir. */
class StateDisk implements Disposable {
  readonly #image: string;
  readonly #path: string;
  #isFrozen = false;

  constructor(host: Host) {
    this.#image = join(host.dir, 'state.img');
    this.#path = join(host.dir, 'fairlead/state');
    writeFileSync(this.#image, '');
    execFileSync('truncate', ['--size', String(DISK_BYTES), this.#image]);
    execFileSync('mkfs.ext4', ['-q', this.#image]);
    mkdirSync(this.#path, { recursive: true });
    execFileSync('mount', ['-o', 'loop', this.#image, this.#path]);
    execFileSync('chmod', ['0711', this.#path]);
  }

  /** As after an error of the disk (ext4(5), errors=remount-ro): files that are open cannot be written to either. */
  turnReadOnly(): void {
    execFileSync('mount', ['-o', 'remount,abort', this.#path]);
  }

  makeWritable(): void {
    execFileSync('umount', ['--lazy', this.#path]);
    execFileSync('mount', ['-o', 'loop', this.#image, this.#path]);
  }

  freeze(): void {
    execFileSync('fsfreeze', ['--freeze', this.#path]);
    this.#isFrozen = true;
  }

  thaw(): void {
    execFileSync('fsfreeze', ['--unfreeze', this.#path]);
    this.#isFrozen = false;
  }

  [Symbol.dispose](): void {
    if (this.#isFrozen) this.thaw();
    execFileSync('umount', ['--lazy', this.#path]);
  }
}

/** What must be so while nothing can be written: `url` is connected by `cli:a`. */
async function readsOnly(host: Host, url: string): Promise<void> {
  const listed = async (): Promise<unknown> => {
    const { status, body } = await host.ask('ls');
    return status === 0 ? (body['mounts'] as unknown[])[0] : undefined;
  };
  expect(await until('ls answers', listed, 20_000)).toMatchObject({ url, attachments: [{ consumer: 'cli:a' }] });
  const isHealthy = async (): Promise<boolean> => (await host.ask('validate', url)).body['verdict'] === 'healthy';
  await until('validate answers', isHealthy);
  const refusal = { code: 'unavailable', field: 'state_dir' };
  const end = await host.ask('disconnect', url, '--consumer', 'cli:a', '--timeout', TIMEOUT_S);
  expect(end.error).toMatchObject(refusal);
  const begin = await host.ask('connect', url, '--consumer', 'cli:b', '--timeout', TIMEOUT_S);
  expect(begin.error).toMatchObject(refusal);
  const { findings } = (await host.ask('doctor')).body as {
    findings: readonly { subject: string; severity: string }[];
  };
  expect(findings).toContainEqual(expect.objectContaining({ subject: 'state_dir', severity: 'error' }));
  expect(host.mounts()).toHaveLength(1);
}

/** By itself, within a while, what was refused is done. */
async function goesOn(host: Host, url: string): Promise<void> {
  const isDone = async (): Promise<boolean> => {
    const { body } = await host.ask('disconnect', url, '--consumer', 'cli:a', '--timeout', TIMEOUT_S);
    return ['released', 'not-connected'].includes(String(body['outcome']));
  };
  await until('it is disconnected', isDone, 30_000);
  await until('nothing is mounted', () => host.mounts().length === 0);
}

async function endsInTime(host: Host): Promise<void> {
  const began = Date.now();
  expect(await host.down()).toBe(0);
  expect(Date.now() - began).toBeLessThan(10_500);
}

describe('a state disk that', () => {
  it('turns read-only stops nothing that only reads, in this agent and the next', async () => {
    await using host = await Host.prepare();
    using disk = new StateDisk(host);
    await host.up();
    const url = await host.volume('v');
    expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
    disk.turnReadOnly();
    await readsOnly(host, url);
    await host.kill('agent');
    await readsOnly(host, url);
    await endsInTime(host);
    await host.up();
    await readsOnly(host, url);
    disk.makeWritable();
    await goesOn(host, url);
  });

  it('stands still stops nothing that only reads, and no end', async () => {
    await using host = await Host.prepare();
    using disk = new StateDisk(host);
    await host.up();
    const url = await host.volume('v');
    expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
    disk.freeze();
    await readsOnly(host, url);
    disk.thaw();
    await goesOn(host, url);
    disk.freeze();
    await host.ask('connect', url, '--consumer', 'cli:a', '--timeout', '1');
    await endsInTime(host);
    disk.thaw();
  });

  it('stands still from the start stops nothing that only reads', async () => {
    await using host = await Host.prepare();
    using disk = new StateDisk(host);
    await host.up();
    const url = await host.volume('v');
    expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
    expect(await host.down()).toBe(0);
    disk.freeze();
    await host.up();
    await readsOnly(host, url);
    disk.thaw();
    await goesOn(host, url);
  });

  it('stands still at the very first start ends that start with its name', async () => {
    await using host = await Host.prepare();
    using disk = new StateDisk(host);
    disk.freeze();
    const up = host.launchUp();
    const isOver = (): boolean => up.child.exitCode !== null;
    await until('it has ended by itself', isOver, 20_000);
    expect(up.child.exitCode).not.toBe(0);
    expect(up.output()).toMatch(/The disk of .* \(state_dir\) does not answer/);
    disk.thaw();
    await host.up();
    expect((await host.ask('connect', await host.volume('v'), '--consumer', 'cli:a')).status).toBe(0);
  });

  it('keeps a killed agent from ending is named, and the next one goes on when it is back', async () => {
    await using host = await Host.prepare();
    using disk = new StateDisk(host);
    await host.up();
    const url = await host.volume('v');
    expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
    disk.freeze();
    await host.ask('connect', url, '--consumer', 'cli:b', '--timeout', '1');
    process.kill(host.pid('agent') ?? 0, 'SIGKILL');
    await until('it is named', () => /agent-lingers/.test(host.log()));
    expect(host.log()).not.toContain('agent-died');
    disk.thaw();
    await host.ready();
    // Whether the disk had it in time nobody knows.
    await host.ask('disconnect', url, '--consumer', 'cli:b');
    await goesOn(host, url);
  });
});

// A ledger that is put back to an older copy, with its mark or without it, and a mark that is deleted: what is mounted
// stays, held, whatever the copy says of it; what the copy records stays, too; and ls and doctor say what was seen.

import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, type Answer, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
beforeEach(async () => {
  host = await Host.boot(WITHOUT_LIBVIRT);
});
afterEach(() => host.shutDown());

const ledger = (name = ''): string => join(host.dir, 'fairlead/state/ledger', name);
const witness = (): string => join(host.dir, 'fairlead/run/ledger.witness');
const connect = (url: string, consumer: string): Promise<Answer> => host.ask('connect', url, '--consumer', consumer);
const disconnect = (url: string, consumer: string): Promise<Answer> =>
  host.ask('disconnect', url, '--consumer', consumer);
const isMounted = (url: string): boolean =>
  host.mounts().some(({ mountPoint }) => mountPoint.endsWith(`/${leafOfUrl(url)}`));

interface List {
  readonly mounts: readonly {
    readonly leaf: string;
    readonly state: string;
    readonly hold: string | null;
    readonly attachments: readonly { readonly consumer: string }[];
  }[];
  readonly setAside: readonly { readonly table: string; readonly key: string; readonly reason: string }[];
}
const list = async (): Promise<List> => (await host.ask('ls')).body as unknown as List;

interface Told {
  readonly hold: string | null;
  readonly users: readonly string[];
}
async function told(url: string): Promise<Told | undefined> {
  const mount = (await list()).mounts.find(({ leaf }) => leaf === leafOfUrl(url));
  return mount && { hold: mount.hold, users: mount.attachments.map(({ consumer }) => consumer) };
}

/** Copies all that a backup of state_dir has of the ledger. */
function copyState(): void {
  mkdirSync(join(host.dir, 'copy'));
  for (const name of readdirSync(ledger())) copyFileSync(ledger(name), join(host.dir, 'copy', name));
}

/** Puts the copy in the place of what is there, as a restore does: owners and modes are as they were. */
async function putBack(): Promise<void> {
  const names = readdirSync(join(host.dir, 'copy'));
  for (const name of readdirSync(ledger())) if (!names.includes(name)) rmSync(ledger(name), { recursive: true });
  // Written over in place, so that owner and mode stay.
  for (const name of names) {
    if (!existsSync(ledger(name))) await run('/bin/cp', ['-p', ledger('ledger.db'), ledger(name)]);
    writeFileSync(ledger(name), readFileSync(join(host.dir, 'copy', name)));
  }
}

/** A volume that was being released when the copy was made, and is bob's since. Nobody has a file open on it. */
async function releasedInTheCopy(name: string): Promise<string> {
  const url = await host.volume(name);
  const { body } = await connect(url, ALICE);
  writeFileSync(join(String(body['path']), 'f'), 'still here');
  const open = openSync(join(String(body['path']), 'f'), 'r');
  expect((await disconnect(url, ALICE)).body['outcome']).toBe('busy');
  await host.crash();
  copyState();
  await host.up();
  expect((await connect(url, BOB)).status).toBe(0);
  closeSync(open);
  return url;
}

const file = (url: string): string => readFileSync(join(host.quobyteBase, leafOfUrl(url), 'f'), 'utf8');

/** What an operator reads. */
async function said(): Promise<{ readonly ls: string; readonly doctor: string }> {
  const [ls, doctor] = [await host.fairlead(['ls']), await host.fairlead(['doctor'])];
  return { ls: ls.stdout, doctor: doctor.stdout };
}

describe('a ledger put back to an older copy', () => {
  it('with its mark, after a crash: a volume that the copy was releasing stays mounted for its user', async () => {
    const url = await releasedInTheCopy('releasing');
    await host.crash();
    await putBack();
    await host.up();
    expect(isMounted(url)).toBe(true);
    expect(await told(url)).toEqual({ hold: 'inherited', users: [] });
    expect(file(url)).toBe('still here');
    const { ls, doctor } = await said();
    expect(ls).toMatch(/ledger.*older copy/);
    expect(doctor).toMatch(/ledger.*older copy/);
    // It is said once, and the holds stay: a start later it is as it was.
    const { setAside } = await list();
    expect(setAside).toHaveLength(1);
    await host.crash();
    await host.up();
    expect((await list()).setAside).toEqual(setAside);
    expect((await host.ask('lift-hold', leafOfUrl(url))).body).toEqual({ lifted: true });
    await until('the mount has gone', () => !isMounted(url));
  });

  it('without its mark: all the same', async () => {
    const url = await releasedInTheCopy('markless');
    await host.crash();
    await putBack();
    rmSync(ledger('ledger.mark'));
    await host.up();
    expect(isMounted(url)).toBe(true);
    expect(await told(url)).toEqual({ hold: 'inherited', users: [] });
  });

  it('after a stop: who is attached in the copy stays so, and its end takes nothing from anybody else', async () => {
    const url = await host.volume('shared');
    const { body } = await connect(url, ALICE);
    writeFileSync(join(String(body['path']), 'f'), 'still here');
    await host.down();
    copyState();
    await host.up();
    expect((await connect(url, BOB)).status).toBe(0);
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('still-used');
    await host.down();
    await putBack();
    await host.up();
    expect(await told(url)).toEqual({ hold: 'inherited', users: [ALICE] });
    expect(await disconnect(url, ALICE)).toMatchObject({ body: { outcome: 'still-used', mounted: true } });
    expect(file(url)).toBe('still here');
  });

  it('from before a volume was connected: that volume is held as well', async () => {
    await host.down();
    copyState();
    await host.up();
    const url = await host.volume('later');
    await connect(url, ALICE);
    await host.crash();
    await putBack();
    await host.up();
    expect(isMounted(url)).toBe(true);
    expect(await told(url)).toEqual({ hold: 'inherited', users: [] });
    expect((await list()).setAside).toHaveLength(1);
  });
});

describe('a witness that is not ours to trust', () => {
  it('stops the start with what to do, and nothing is unmounted', async () => {
    const url = await host.volume('guarded');
    await connect(url, ALICE);
    await host.down();
    rmSync(witness());
    symlinkSync(ledger('ledger.mark'), witness());
    const refused = await host.fairlead(['up', '--config', host.configFile, '--json'], { deadlineMs: 20_000 });
    expect([refused.status, JSON.parse(refused.stdout)]).toMatchObject([
      14,
      { error: { code: 'config-invalid', field: 'run_dir', message: expect.stringContaining('is a link') as string } },
    ]);
    expect(isMounted(url)).toBe(true);
    rmSync(witness());
    await host.up();
    expect(await told(url)).toEqual({ hold: null, users: [ALICE] });
  });
});

describe('a mark that is deleted', () => {
  it('is made again where the witness of this boot knows the ledger: nothing is held', async () => {
    const url = await host.volume('known');
    await connect(url, ALICE);
    await host.crash();
    rmSync(ledger('ledger.mark'));
    await host.up();
    expect(await told(url)).toEqual({ hold: null, users: [ALICE] });
    expect((await list()).setAside).toEqual([]);
    expect(host.log()).toContain('ledger-mark-missing');
    expect(existsSync(ledger('ledger.mark'))).toBe(true);
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('released');
  });

  it('in a boot without a witness leads to holds, and nothing of the records is lost', async () => {
    const url = await host.volume('unknown');
    await connect(url, ALICE);
    await host.crash();
    rmSync(ledger('ledger.mark'));
    rmSync(witness(), { force: true });
    await host.up();
    expect(await told(url)).toEqual({ hold: 'inherited', users: [ALICE] });
    const { ls, doctor } = await said();
    expect(ls).toMatch(/mark is missing/);
    expect(doctor).toMatch(/mark is missing/);
    expect(await disconnect(url, ALICE)).toMatchObject({ body: { outcome: 'still-used', mounted: true } });
  });

  it('with everything else of the ledger is noticed: what is mounted is held', async () => {
    const url = await host.volume('gone');
    await connect(url, ALICE);
    await host.crash();
    rmSync(ledger(), { recursive: true });
    await host.up();
    expect(await told(url)).toEqual({ hold: 'inherited', users: [] });
    expect((await list()).setAside).toMatchObject([{ table: 'ledger' }]);
  });
});

// Bad days of the ledger: its disk is full, its bytes are damaged, it is gone, a newer version wrote it, one record makes
// no sense. Whatever it was, no mount in use is taken away, and what was lost is a hold and not a guess.

import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SCHEMA_VERSION } from '../../../src/ledger/schema.js';
import { Client } from '../../rig/client.js';
import { Host, leafOfUrl, type Answer, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { AGENT } from '../../rig/identity.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;

const state = (): string => join(host.dir, 'fairlead/state');
const ledger = (name = ''): string => join(state(), 'ledger', name);
const connect = (url: string, consumer = ALICE): Promise<Answer> => host.ask('connect', url, '--consumer', consumer);
const disconnect = (url: string, consumer = ALICE): Promise<Answer> =>
  host.ask('disconnect', url, '--consumer', consumer);
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(`/${leafOfUrl(url)}`)).length;

interface Listed {
  readonly leaf: string;
  readonly state: string;
  readonly hold: string | null;
  readonly attachments: readonly { readonly consumer: string }[];
}
interface List {
  readonly mounts: readonly Listed[];
  readonly setAside: readonly { readonly table: string; readonly key: string; readonly reason: string }[];
}
const list = async (): Promise<List> => (await host.ask('ls')).body as unknown as List;
const listed = async (url: string): Promise<Listed | undefined> =>
  (await list()).mounts.find(({ leaf }) => leaf === leafOfUrl(url));

describe('a state disk that is full', () => {
  const filler = (): string => join(state(), 'filler');

  beforeAll(async () => {
    host = await Host.prepare();
    mkdirSync(state());
    const mounted = await run('/bin/mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=0711', 'state', state()]);
    expect(mounted.status).toBe(0);
    await host.up();
  });
  afterAll(() => host.shutDown());

  function fill(): void {
    const descriptor = openSync(filler(), 'a', 0o600);
    const block = Buffer.alloc(65_536, 1);
    for (let size = block.length; size >= 1;) {
      try {
        writeSync(descriptor, block, 0, size);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
        size >>= 1;
      }
    }
    closeSync(descriptor);
  }

  it('refuses what is new before it has any effect, lets go of what is old, and heals with the space', async () => {
    const [used, kept] = [await host.volume('used'), await host.volume('kept')];
    expect([(await connect(used)).status, (await connect(kept)).status]).toEqual([0, 0]);
    fill();

    // Some of the log's own space may be left: use it up.
    const client = new Client(host.socket);
    const attached: string[] = [];
    let code: string | undefined;
    for (let n = 0; n < 2000 && code === undefined; n++) {
      ({ code } = await client.connect(kept, `cli:filler-${n}`));
      if (code === undefined) attached.push(`cli:filler-${n}`);
    }
    expect(code).toBe('resource-exhausted');

    const url = await host.volume('unwanted');
    expect(await connect(url)).toMatchObject({ status: 16, error: { code: 'resource-exhausted' } });
    expect(mountsAt(url)).toBe(0);
    expect(existsSync(join(host.quobyteBase, leafOfUrl(url)))).toBe(false);
    expect(await listed(url)).toBeUndefined();
    expect((await host.ask('validate', used)).body['verdict']).toBe('healthy');

    expect(await disconnect(used)).toMatchObject({ status: 0, body: { outcome: 'released', mounted: false } });
    for (const consumer of attached) {
      expect((await client.disconnect(kept, consumer)).body['outcome']).toBe('still-used');
    }
    expect(mountsAt(kept)).toBe(1);

    // A start finds everything as it was said to be, on a disk that is still full.
    await host.crash();
    await host.up();
    expect((await listed(kept))?.attachments.map(({ consumer }) => consumer)).toEqual([ALICE]);
    expect(await listed(used)).toBeUndefined();
    expect(await connect(url)).toMatchObject({ status: 16, error: { code: 'resource-exhausted' } });
    expect((await disconnect(kept)).body['outcome']).toBe('released');
    expect(host.mounts()).toEqual([]);

    rmSync(filler());
    expect(await connect(url)).toMatchObject({ status: 0, body: { changed: true } });
    expect((await disconnect(url)).body['outcome']).toBe('released');
    client.close();
  });
});

describe('a ledger that is', () => {
  let earlier: Buffer;

  beforeAll(async () => {
    host = await Host.boot(WITHOUT_LIBVIRT);
    await host.down();
    earlier = readFileSync(ledger('ledger.db'));
    await host.up();
  });
  afterAll(() => host.shutDown());
  afterEach(() => {
    for (const name of asideNames()) rmSync(ledger(name), { recursive: true });
  });

  const asideNames = (): readonly string[] =>
    readdirSync(ledger()).filter((name) => name.startsWith('ledger.damaged-'));

  /** Overwrites bytes in place. */
  function scribble(path: string, from: number, bytes: number): void {
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, Buffer.alloc(bytes, 0xa5), 0, bytes, from);
    closeSync(descriptor);
  }

  it.each<readonly [string, () => void]>([
    ['damaged in its middle', () => scribble(ledger('ledger.db'), 4096, statSync(ledger('ledger.db')).size - 4096)],
    ['damaged in its header', () => scribble(ledger('ledger.db'), 0, 100)],
    ['cut in half', () => truncateSync(ledger('ledger.db'), 8192)],
    ['an earlier one put back', () => writeFileSync(ledger('ledger.db'), earlier)],
    ['gone with all that belongs to it', () => rmSync(ledger(), { recursive: true })],
  ])('%s leads to holds: nothing is unmounted, and what was there is kept', async (_, spoil) => {
    const url = await host.volume('orphan');
    const { body } = await connect(url);
    writeFileSync(join(String(body['path']), 'f'), 'still here');
    await host.down();
    const before = existsSync(ledger('ledger.db')) ? readFileSync(ledger('ledger.db')) : null;
    expect(before?.length).toBeGreaterThan(4096);
    spoil();
    const spoilt = existsSync(ledger('ledger.db')) ? readFileSync(ledger('ledger.db')) : null;
    await host.up();

    expect(mountsAt(url)).toBe(1);
    expect(readFileSync(join(String(body['path']), 'f'), 'utf8')).toBe('still here');
    expect(await listed(url)).toMatchObject({ state: 'mounted', hold: 'inherited', attachments: [] });
    if (spoilt !== null) {
      const aside = asideNames();
      expect(aside).toHaveLength(1);
      expect(readFileSync(ledger(join(aside[0] ?? '', 'ledger.db')))).toEqual(spoilt);
      expect((await list()).setAside).toEqual(
        expect.arrayContaining([expect.objectContaining({ table: 'ledger', key: aside[0] })]),
      );
    }
    // Nobody who is asked takes the mount away: not the consumer who was lost, nor one who comes and goes.
    expect(await disconnect(url)).toMatchObject({
      body: { outcome: 'not-connected', mounted: true, usedBy: ['hold:inherited'] },
    });
    expect((await connect(url, BOB)).status).toBe(0);
    expect(await disconnect(url, BOB)).toMatchObject({ body: { outcome: 'still-used', mounted: true } });
    expect(readFileSync(join(String(body['path']), 'f'), 'utf8')).toBe('still here');
    expect((await host.ask('lift-hold', leafOfUrl(url))).body).toEqual({ lifted: true });
    await until('the mount has gone', () => mountsAt(url) === 0);
  });
});

describe('a ledger', () => {
  beforeAll(async () => {
    host = await Host.boot(WITHOUT_LIBVIRT);
  });
  afterAll(() => host.shutDown());

  const refused = () => host.fairlead(['up', '--config', host.configFile, '--json'], { deadlineMs: 20_000 });
  const snapshot = (): Record<string, string> =>
    Object.fromEntries(readdirSync(ledger()).map((name) => [name, readFileSync(ledger(name)).toString('base64')]));

  it('of a newer version is not touched, and its mounts stay until that version is back', async () => {
    const url = await host.volume('future');
    await connect(url);
    await host.down();
    const setVersion = (version: number): void => {
      const database = new DatabaseSync(ledger('ledger.db'));
      database.exec(`PRAGMA user_version = ${version}; PRAGMA wal_checkpoint(TRUNCATE)`);
      database.close();
      for (const more of ['-wal', '-shm']) rmSync(ledger(`ledger.db${more}`), { force: true });
    };
    setVersion(99);
    const before = snapshot();
    const { status, stdout } = await refused();
    expect(status).toBe(14);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'config-invalid', field: 'state_dir', message: expect.stringContaining('version 99') as string },
    });
    expect(snapshot()).toEqual(before);
    expect(mountsAt(url)).toBe(1);
    setVersion(SCHEMA_VERSION);
    await host.up();
    expect(await listed(url)).toMatchObject({ hold: null, attachments: [{ consumer: ALICE }] });
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it('that somebody else could have written stops the start with the mend, and nothing is unmounted', async () => {
    const url = await host.volume('guarded');
    await connect(url);
    await host.down();
    const file = ledger('ledger.db');
    const aside = join(host.dir, 'elsewhere.db');
    const cases: readonly (readonly [() => void, RegExp, () => void])[] = [
      [() => chmodSync(file, 0o644), /chmod 0600/, () => chmodSync(file, 0o600)],
      [() => chownSync(ledger(), 12_345, 12_345), /chown/, () => chownSync(ledger(), AGENT.uid, AGENT.gid)],
      [
        () => {
          renameSync(file, aside);
          symlinkSync(aside, file);
        },
        /link/,
        () => {
          renameSync(aside, file);
        },
      ],
    ];
    for (const [spoil, mend, restore] of cases) {
      spoil();
      const { status, stdout } = await refused();
      restore();
      expect([status, stdout]).toEqual([14, expect.stringMatching(mend)]);
      expect(mountsAt(url)).toBe(1);
    }
    await host.up();
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it('with one record that makes no sense sets that one aside, shows it, and keeps its mount and all others', async () => {
    const urls = await Promise.all(['sound', 'spoilt', 'other'].map((name) => host.volume(name)));
    const [sound = '', spoilt = '', other = ''] = urls;
    for (const url of urls) await connect(url);
    await connect(other, BOB);
    await host.down();
    const database = new DatabaseSync(ledger('ledger.db'));
    database.exec(`UPDATE attachments SET consumer = 'no consumer' WHERE leaf = '${leafOfUrl(spoilt)}'`);
    database.close();
    for (const name of readdirSync(ledger())) chownSync(ledger(name), AGENT.uid, AGENT.gid);
    await host.up();
    expect((await list()).setAside).toMatchObject([
      { table: 'attachments', reason: expect.stringContaining('consumer') as string },
    ]);
    expect(host.mounts()).toHaveLength(3);
    expect(await listed(spoilt)).toMatchObject({ hold: 'inherited', attachments: [], state: 'mounted' });
    expect((await disconnect(sound)).body['outcome']).toBe('released');
    expect((await disconnect(other)).body['outcome']).toBe('still-used');
    expect((await disconnect(other, BOB)).body['outcome']).toBe('released');
    await host.down();
    await host.up();
    expect((await list()).setAside).toHaveLength(1);
    expect(mountsAt(spoilt)).toBe(1);
  });
});

describe('the text of an export', () => {
  afterEach(() => host.shutDown());

  /** Files below a directory that hold the text in their name or contents. */
  function filesWith(text: string, below: string): readonly string[] {
    return readdirSync(below, { withFileTypes: true, recursive: true })
      .map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }))
      .filter(({ entry, path }) => path.includes(text) || (entry.isFile() && readFileSync(path).includes(text)))
      .map(({ path }) => path);
  }

  it('rests in the ledger and nowhere else: not in logs, locks, arguments of ours, nor names of units', async () => {
    const secret = 'registry-of-mystery';
    host = await Host.boot({ configure: (toml) => `log_level = "debug"\n${toml}` });
    const name = 'volume-of-mystery';
    const url = await host.volume(name, secret);
    await connect(url);
    await host.kill('broker');
    await host.kill('agent');
    await host.ask('validate', url);
    await disconnect(url);
    for (const fault of [['helper-fails', '1', `no ${secret}/${name}`], ['helper-noop'], ['errno', 'EIO']]) {
      await host.sandbox('fault', name, ...(fault as [string]));
      expect((await host.ask('connect', url, '--consumer', ALICE, '--timeout', '4')).status).not.toBe(0);
      await host.sandbox('heal', name);
    }
    await host.ask('connect', `${url}/../x`, '--consumer', ALICE);
    await connect(url);
    const log = host.log();
    await host.crash();
    await host.up();

    for (const text of [secret, name]) {
      const found = filesWith(text, join(host.dir, 'fairlead/state'));
      // The proof that the search finds what there is.
      expect(found).not.toEqual([]);
      expect(found.filter((path) => ![ledger('ledger.db'), ledger('ledger.db-wal')].includes(path))).toEqual([]);
      expect(filesWith(text, join(host.dir, 'fairlead/run'))).toEqual([]);
      expect(log + host.log()).not.toContain(text);
      for (const pid of [host.pid('agent'), host.pid('broker')]) {
        for (const about of ['cmdline', 'environ', 'comm']) {
          expect(readFileSync(`/proc/${pid}/${about}`, 'latin1')).not.toContain(text);
        }
      }
    }
    expect(log).toContain(leafOfUrl(url));
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });
});

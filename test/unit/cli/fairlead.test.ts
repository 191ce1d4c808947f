// The command line as a process: what a program gets on standard output, what a person gets, and with which status. The
// agent is a stand-in that answers what each test tells it to; what it was asked is looked at.

import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ERROR_CODES } from '../../../src/core/errors.js';
import { COMMANDS } from '../../../src/cli/commands.js';
import { parseVolume, VOLUME_PATTERN } from '../../../src/backends/registry.js';
import { createHttpDoor, type HttpDoor } from '../../../src/doors/http/door.js';
import { ROUTES } from '../../../src/doors/routes.js';
import { createLog } from '../../../src/sys/log.js';
import type { Engine } from '../../../src/core/requests.js';

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

let directory: string;
let program: string;
let socket: string;
let server: Server;
let asked: { method: string; path: string; body: unknown }[];
let answer: { status: number; body: unknown };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-cli-'));
  chmodSync(directory, 0o755);
  mkdirSync(join(directory, 'bin'));
  program = join(directory, 'bin/fairlead');
  await promisify(execFile)(process.execPath, [
    fileURLToPath(new URL('../../../scripts/bundle.mjs', import.meta.url)),
    program,
  ]);
  socket = join(directory, 'agent.sock');
  server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      asked.push({
        method: request.method ?? '',
        path: request.url ?? '',
        body: text === '' ? null : (JSON.parse(text) as unknown),
      });
      if (answer.status === 0) return;
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
});
afterAll(() => {
  server.close();
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(() => {
  asked = [];
  answer = { status: 200, body: {} };
});

function fairlead(args: readonly string[], options: { uid?: number; socket?: string | null } = {}): Promise<Ended> {
  const rest = { ...process.env };
  delete rest['FAIRLEAD_SOCKET'];
  // Reading a bundle of certificates doubles the time to start.
  delete rest['NODE_EXTRA_CA_CERTS'];
  const at = options.socket === undefined ? socket : options.socket;
  const child = spawn(process.execPath, [program, ...args], {
    cwd: '/',
    env: { ...rest, ...(at === null ? {} : { FAIRLEAD_SOCKET: at }) },
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve) => {
    child.on('close', (status) => {
      resolve({ status, out, err });
    });
  });
}

const URL_ = 'quobyte://reg1:7861/vol';
const LEAF = 'c759ad7fc6f6d6c5c3fa54d89ec7ac4c';

test('the agent is asked what the command line says', async () => {
  await fairlead(['connect', '--read-only', '--timeout=7', '--json', '--disk', 'd', '--consumer=cli:a', URL_]);
  const body = { url: URL_, disk: 'd', consumer: 'cli:a', readOnly: true, timeoutMs: 7000 };
  expect(asked).toEqual([{ method: 'POST', path: '/v1/connect', body }]);
});

describe('with --json', () => {
  test('the answer is one object on standard output and nothing else anywhere', async () => {
    answer.body = { outcome: 'busy', mounted: true, usedBy: [], holders: [], leaf: LEAF };
    const { status, out, err } = await fairlead(['disconnect', URL_, '--consumer', 'cli:a', '--json']);
    expect([status, err]).toEqual([0, '']);
    expect(JSON.parse(out)).toEqual(answer.body);
    expect(out.split('\n')).toHaveLength(2);
  });
  test.each(Object.entries(ERROR_CODES).filter(([, { exit }]) => exit % 4 === 0))(
    'the error %s comes through with its status',
    async (code, { exit, http, retryable }) => {
      answer = {
        status: http ?? 500,
        body: { error: { code, message: 'What to do.', retryable, field: 'url', leaf: LEAF } },
      };
      const { status, out, err } = await fairlead(['validate', URL_, '--json']);
      expect([status, err]).toEqual([exit, '']);
      expect(JSON.parse(out)).toEqual(answer.body);
    },
  );
  test('a usage error is an object with status 2, and the agent is not asked', async () => {
    const { status, out, err } = await fairlead(['connect', URL_, '--json']);
    expect([status, err]).toEqual([2, '']);
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'invalid-argument', field: 'consumer', retryable: false } });
    expect(asked).toEqual([]);
  });
  test('up takes no --socket, which it would have no use for', async () => {
    const { status, out } = await fairlead(['up', '--socket', socket, '--json']);
    expect(status).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'invalid-argument', field: 'socket' } });
    expect((await fairlead(['up', '--help'])).out).not.toContain('--socket');
  });
  test('help and version are objects too', async () => {
    expect(JSON.parse((await fairlead(['--version', '--json'])).out)).toHaveProperty('version');
    expect(JSON.parse((await fairlead(['connect', '-h', '--json'])).out)).toHaveProperty('help');
    expect(JSON.parse((await fairlead(['--json', 'ls', '--help'])).out)).toHaveProperty('help');
  });
});

test.each(['ls', 'ls --json', '--help'])(
  'an answer that cannot be written is an error: %s > /dev/full',
  async (words) => {
    answer.body = { mounts: [], setAside: [], fault: null, broker: 'connected', state: 'ready', domains: 'none' };
    const child = spawn(
      '/bin/sh',
      ['-c', `exec "$@" > /dev/full`, 'sh', process.execPath, program, ...words.split(' ')],
      {
        env: { ...process.env, FAIRLEAD_SOCKET: socket },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(ERROR_CODES['resource-exhausted'].exit);
    expect(err).toMatch(/^fairlead: Standard output cannot be written to \(ENOSPC\).*\n$/);
  },
);

test('an error that cannot be written still has its status', async () => {
  answer = { status: 404, body: { error: { code: 'not-found', message: 'It is not there.', retryable: false } } };
  const words = ['-c', 'exec "$@" 2> /dev/full', 'sh', process.execPath, program, 'ls', '--socket', socket];
  const child = spawn('/bin/sh', words, { stdio: 'ignore' });
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(ERROR_CODES['not-found'].exit);
});

describe('for people', () => {
  test('a table on standard output, aligned by its widest cells', async () => {
    const mount = {
      leaf: LEAF,
      url: URL_,
      backend: 'quobyte',
      mountpoint: `/mnt/${LEAF}`,
      state: 'mounted',
      verdict: 'healthy',
      verdictAge: 3.4,
      attachments: [
        { id: 'x', consumer: 'cli:a', disk: 'd', readOnly: true, since: 'now', orphan: null },
        { id: 'y', consumer: 'vm:b', disk: 'e', readOnly: false, since: 'now', orphan: 'no-domain' },
      ],
      hold: 'inherited',
      former: [{ state: 'releasing' }],
      keptBy: [{ pid: 0, command: '/copy', by: 'mount' }],
      needsRestart: [{ pid: 7, command: 'qemu', by: 'descriptor' }],
      operation: null,
    };
    const setAside = [
      { table: 'ledger', key: 'ledger.damaged-20261105T101530Z', reason: 'it is an older copy' },
      { table: 'mounts', key: 'row 7', reason: 'export must be text.' },
    ];
    answer.body = {
      mounts: [mount],
      setAside,
      fault: 'The disk is away.',
      broker: 'absent',
      state: 'reconciling',
      domains: 'incomplete',
    };
    const { status, out, err } = await fairlead(['ls']);
    expect([status, err]).toEqual([0, '']);
    expect(out).toContain(
      `${LEAF}  mounted  healthy (3s ago)  cli:a/d (ro) vm:b/e (no such domain) hold:inherited  ${URL_}\n`,
    );
    expect(out).toContain("Some of libvirt's domains could not be read");
    expect(out).toContain('restart them: qemu (pid 7, descriptor)');
    expect(out).toContain(`${LEAF} is kept from its unmount by a mount at /copy\n`);
    expect(out).toContain('The disk is away.\n');
    expect(out).toContain(
      'The ledger could not be trusted at a start (ledger.damaged-20261105T101530Z): it is an older copy\n',
    );
    expect(out).toContain('The ledger has a record it cannot read (mounts row 7): export must be text.\n');
    expect(out).toContain('No broker is connected');
    expect(out).toContain('still being worked off');
  });
  test('an error on standard error: message, code, field, what the helper said', async () => {
    answer = {
      status: 502,
      body: {
        error: { code: 'helper-failed', message: 'Look at the client.', retryable: true, helperOutput: 'no route' },
      },
    };
    const { status, out, err } = await fairlead(['validate', URL_]);
    expect([status, out]).toEqual([12, '']);
    expect(err).toBe('fairlead: Look at the client. [helper-failed]\nthe helper said: no route\n');
  });
  test('a helper that said nothing is not quoted', async () => {
    const error = { code: 'helper-failed', message: 'Look at the client.', retryable: true, helperOutput: '' };
    answer = { status: 502, body: { error } };
    expect((await fairlead(['validate', URL_])).err).toBe('fairlead: Look at the client. [helper-failed]\n');
    expect((await fairlead(['validate', URL_, '--json'])).out).not.toContain('helperOutput');
  });
  test('a volume that was not looked at yet says so, and one that is missing says what is the matter', async () => {
    const mount = {
      leaf: LEAF,
      url: URL_,
      mountpoint: '/m',
      verdictAge: null,
      hold: null,
      former: [],
      keptBy: [],
      needsRestart: [],
    };
    const used = { id: 'a', consumer: 'cli:a', disk: null, readOnly: false, since: 'now', orphan: null };
    const shown = (state: string, verdict: string | null): object => ({
      ...{ ...mount, state, verdict, attachments: [used], operation: null },
    });
    const rest = { setAside: [], broker: 'connected', state: 'ready', domains: 'off', fault: null };
    answer.body = { mounts: [shown('mounted', null)], ...rest };
    expect((await fairlead(['ls'])).out).toContain('not looked at yet');
    answer.body = { mounts: [shown('vanished', 'absent')], ...rest };
    const { out } = await fairlead(['ls']);
    expect(out).toContain(`${LEAF} is in use and not mounted`);
    expect(out).toContain('fairlead doctor');
  });
  test.skipIf(process.geteuid?.() !== 0)(
    '--show-helper-output is for root alone, and nothing is asked of the agent for others',
    async () => {
      const { status, err } = await fairlead(['connect', URL_, '--consumer', 'cli:a', '--show-helper-output'], {
        uid: 4242,
      });
      expect(status).toBe(ERROR_CODES['permission-denied'].exit);
      expect(err).toContain('Only root may see all');
      expect(asked).toEqual([]);
    },
  );
  test('nothing that the agent says reaches the terminal as a control', async () => {
    answer.body = { verdict: 'healthy', reason: 'a\u001b[31mb\nc\u202ed', mountpoint: '/m', leaf: LEAF };
    const { out } = await fairlead(['validate', URL_]);
    expect(out).toContain('a\\u{1b}[31mb\\nc\\u{202e}d');
    answer = { status: 500, body: { error: { code: 'internal', message: 'x\u001b]0;y\u0007', retryable: false } } };
    expect((await fairlead(['validate', URL_])).err).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });
  test('--xml prints the element as it is', async () => {
    const xml = '<disk>\n  <source file="/a\\b"/>\n</disk>';
    answer.body = { xml, path: '/a', driver: {}, target: {}, readonly: false };
    expect((await fairlead(['disk-config', URL_, '--disk', 'd', '--xml'])).out).toBe(`${xml}\n`);
  });
  test.each(['busy', 'hung'])('the outcome %s is an answer: status 0', async (outcome) => {
    answer.body = {
      outcome,
      mounted: true,
      leaf: LEAF,
      usedBy: ['cli:b'],
      holders: [
        { pid: 7, command: 'dd', by: 'descriptor' },
        { pid: 0, command: '/copy', by: 'mount' },
        { pid: 0, command: '/dev/loop3', by: 'loop' },
        { pid: 8, command: 'sh', by: 'namespace' },
      ],
    };
    const { status, out } = await fairlead(['disconnect', URL_, '--consumer', 'cli:a']);
    expect(status).toBe(0);
    expect(out).toContain(outcome);
    expect(out).toContain(
      'dd (pid 7, descriptor), a mount at /copy, the loop device /dev/loop3, the mount namespace of sh (pid 8)',
    );
  });
  test('help tells each command', async () => {
    const { status, out } = await fairlead(['--help']);
    expect(status).toBe(0);
    for (const { name } of COMMANDS) expect(out).toContain(`  ${name} `);
    expect((await fairlead(['connect', '--help'])).out).toContain(
      'Usage: fairlead connect URL [--disk NAME] --consumer KIND:ID',
    );
  });
});

describe('disks of virtual machines, for people', () => {
  const domain = { uuid: '11111111-2222-4333-8444-555555555555', name: 'web\u001b[1m' };
  const place = { leaf: LEAF, path: `/mnt/${LEAF}/d` };
  test('the help of the group, of one of its commands, and a word that is nearly right', async () => {
    const group = await fairlead(['vm', '--help']);
    expect([group.status, group.err]).toEqual([0, '']);
    for (const name of ['attach', 'detach', 'extend', 'ls']) expect(group.out).toContain(`  vm ${name} `);
    expect(group.out).not.toContain('disk-config');
    expect((await fairlead(['vm', 'detach', '--help'])).out).toContain(
      'Usage: fairlead vm detach DOMAIN (TARGET | URL --disk NAME) [--timeout S] [--show-helper-output]\n',
    );
    expect((await fairlead(['vm', 'attach', '-h'])).out).toContain(
      'Usage: fairlead vm attach DOMAIN URL --disk NAME [--format raw|qcow2] [--target DEV] [--bus virtio|scsi] [--read-only] [--persistent] [--create SIZE] [--timeout S] [--show-helper-output]\n',
    );
    expect(await fairlead(['vm', 'atach'])).toMatchObject({
      status: 2,
      out: '',
      err: 'fairlead: There is no command vm atach. Did you mean fairlead vm attach? [invalid-argument, command]\n',
    });
  });
  test('attach: where it is, and what else is worth knowing', async () => {
    answer.body = { attachment: 'a', domain, target: 'vdb', ...place, changed: true, created: true, notes: ['Mind.'] };
    const { status, out } = await fairlead(['vm', 'attach', 'web', URL_, '--disk', 'd', '--create', '1G']);
    expect(status).toBe(0);
    expect(out).toBe(
      `domain   web\\u{1b}[1m\ntarget   vdb\npath     /mnt/${LEAF}/d\nchanged  yes\nimage    made now\nnote     Mind.\n`,
    );
  });
  test('detach: what became of the disk, and of the mount', async () => {
    const mount = { outcome: 'still-used', mounted: true, leaf: LEAF, usedBy: ['cli:b'], holders: [] };
    answer.body = { ...mount, domain, target: 'vdb', changed: true };
    expect((await fairlead(['vm', 'detach', 'web', 'vdb'])).out).toContain(
      'taken away, it was vdb\noutcome  still-used\n',
    );
    answer.body = { ...mount, domain, target: null, changed: false };
    expect((await fairlead(['vm', 'detach', 'web', 'vdb'])).out).toContain('the domain did not have it');
  });
  test('extend: the size as it was said', async () => {
    answer.body = { domain, target: 'vdb', ...place, bytes: 10_737_418_240, changed: true, by: 'hypervisor' };
    expect((await fairlead(['vm', 'extend', 'web', 'vdb', '10G'])).out).toContain('size     10G (10737418240 bytes)\n');
    answer.body = { domain, target: 'vdb', ...place, bytes: 1536, changed: false, by: 'image' };
    const { out } = await fairlead(['vm', 'extend', 'web', 'vdb', '1536']);
    expect(out).toContain('size     1536 bytes\nchanged  no, it had that size\n');
  });
  test('ls: whose disks, where, and what is left of domains that are gone', async () => {
    const disk = { domain: { ...domain, running: true }, target: 'vdb', ...place, url: URL_, disk: 'd', format: 'raw' };
    const attached = { readOnly: false, live: true, persistent: false, attachment: 'a', consumer: `vm:${domain.uuid}` };
    const orphan = {
      attachment: 'b',
      consumer: `vm:${domain.uuid}`,
      leaf: LEAF,
      url: URL_,
      disk: 'e',
      why: 'no-domain',
      confirmed: true,
    };
    answer.body = {
      disks: [
        { ...disk, ...attached },
        { ...disk, ...attached, target: 'vdc', readOnly: true, live: false, persistent: true, consumer: null },
        { ...disk, ...attached, target: 'vdd', persistent: true, consumer: `nova:${domain.uuid}` },
      ],
      orphans: [orphan, { ...orphan, disk: 'new', why: 'unused', confirmed: false }],
      complete: false,
    };
    const { out } = await fairlead(['vm', 'ls']);
    expect(out).toMatch(/vdb +d +raw +running +by Fairlead +quobyte:/);
    expect(out).toMatch(/vdc +d \(ro\) +raw +next start +by others +quobyte:/);
    expect(out).toMatch(/vdd +d +raw +running, next start +by Nova +quobyte:/);
    expect(out).toContain(
      `: there is no such domain. If nobody needs it, end it:\n    fairlead disconnect ${URL_} --disk e `,
    );
    expect(out).toMatch(/new: the domain names no file of the volume at this moment\.\n(?! )/);
    expect(out).toContain('Some domains could not be read');
    answer.body = { disks: [], orphans: [], complete: true };
    expect((await fairlead(['vm', 'ls'])).out).toBe('No domain has a disk of a volume.\n');
  });
});

describe('doctor', () => {
  const finding = (severity: string): unknown => ({
    findings: [{ subject: 's', severity, message: 'm', mend: 'do it' }],
  });
  test('ends with 1 when it found an error, 0 when it found none', async () => {
    answer.body = finding('error');
    expect(await fairlead(['doctor'])).toMatchObject({ status: 1, out: 'error: s: m\n    do it\n' });
    answer.body = finding('warning');
    expect(await fairlead(['doctor', '--json'])).toMatchObject({ status: 0 });
  });
  test('without an agent it says so, in its own form', async () => {
    const { status, out } = await fairlead(['doctor', '--json'], { socket: join(directory, 'none.sock') });
    expect(status).toBe(15);
    expect(JSON.parse(out)).toMatchObject({ findings: [{ subject: 'agent', severity: 'error' }] });
    expect(out).toContain('fairlead up');
  });
});

describe('where no agent answers', () => {
  test('nobody listens: unavailable, with the command that mends it', async () => {
    const { status, err } = await fairlead(['ls'], { socket: join(directory, 'none.sock') });
    expect(status).toBe(15);
    expect(err).toContain('fairlead up');
    expect(err).toContain('none.sock');
  });
  test('without FAIRLEAD_SOCKET the packaged place is asked', async () => {
    expect((await fairlead(['ls', '--socket', join(directory, 'none.sock')], { socket: null })).err).toContain(
      'none.sock',
    );
    expect((await fairlead(['--json', 'ls', '--socket', socket], { socket: null })).status).toBe(0);
  });
  test('something else listens', async () => {
    for (const body of ['hello', '[]', { error: { code: 'made-up', message: 'x' } }, { error: 7 }]) {
      answer = { status: 404, body };
      expect(await fairlead(['ls'])).toMatchObject({ status: 15, out: '' });
    }
  });
  test('the path is too long for a socket', async () => {
    const { status, out } = await fairlead(['ls', '--json', '--socket', `/${'x'.repeat(200)}`]);
    expect([status, (JSON.parse(out) as { error: { field: string } }).error.field]).toEqual([2, 'socket']);
  });
  test.skipIf(process.geteuid?.() !== 0)('the socket may not be reached', async () => {
    mkdirSync(join(directory, 'closed'), { mode: 0o700 });
    const { status, err } = await fairlead(['ls'], { uid: 4242, socket: join(directory, 'closed/agent.sock') });
    expect(status).toBe(4);
    expect(err).toContain('permission-denied');
  });
});

test('it works through a link, from any directory', async () => {
  const link = join(directory, 'link');
  symlinkSync(program, link);
  const { stdout } = await promisify(execFile)(link, ['--version'], { cwd: '/' });
  expect(stdout).toMatch(/^fairlead \d+\.\d+\.\d+\n$/);
});

test.each([
  ['connect', ['connect', URL_, '--consumer', 'cli:a'], 'undoes what it began'],
  ['disconnect', ['disconnect', URL_, '--consumer', 'cli:a'], 'The agent goes on with it all the same'],
  ['vm detach', ['vm', 'detach', 'web', 'vdb'], 'The agent goes on with it all the same'],
  ['ls', ['ls'], 'Nothing is changed by that'],
])('Ctrl-C during %s says what becomes of it, and ends by the signal', async (_, words, said) => {
  answer = { status: 0, body: null };
  const child = spawn(process.execPath, [program, ...words, '--socket', socket], { cwd: '/' });
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<string | null>((resolve) => {
    child.on('close', (_status, signal) => {
      resolve(signal);
    });
  });
  await expect.poll(() => asked.length, { timeout: 10_000, interval: 10 }).toBe(1);
  child.kill('SIGINT');
  expect(await ended).toBe('SIGINT');
  expect(err).toMatch(/^fairlead: interrupted\. .*\n$/);
  expect(err).toContain(said);
});
test('after abort it is not said that the volume is mounted again before its storage answers', async () => {
  answer.body = { verdict: 'stale', usedBy: ['cli:a'] };
  const { out } = await fairlead(['abort', LEAF]);
  expect(out).toContain('It is mounted again for cli:a as soon as its storage answers');
});
test('a reader that goes away is no error', async () => {
  answer.body = {
    findings: Array.from({ length: 20_000 }, () => ({ subject: 's', severity: 'warning', message: 'm', mend: 'x' })),
  };
  const child = spawn('/bin/sh', [
    '-c',
    '"$0" "$1" doctor --socket "$2" | head -c 1 >/dev/null',
    process.execPath,
    program,
    socket,
  ]);
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  await new Promise((resolve) => child.on('close', resolve));
  expect(err).toBe('');
});

test('twenty clients at once are all answered by a real door', { timeout: 60_000 }, async () => {
  const list: ReturnType<Engine['list']> = {
    mounts: [],
    setAside: [],
    fault: null,
    broker: 'connected',
    state: 'ready',
    domains: 'off',
  };
  const door: HttpDoor = await createHttpDoor({
    routes: ROUTES,
    access: { agentUid: 0, allowedUids: [process.geteuid?.() ?? 0], allowedGids: [] },
    log: createLog('agent', 'error', {
      write: () => undefined,
      flush: () => Promise.resolve(),
      onRoom: () => undefined,
    }),
    version: '0',
    volumePattern: VOLUME_PATTERN,
  });
  const path = join(directory, 'door.sock');
  await door.open(path, {
    engine: { list: () => list } as unknown as Engine,
    volumes: { parseVolume, mountBaseOf: () => '/mnt', driverOf: () => ({ cache: 'none', io: 'native' }) },
    vm: null,
    version: '0',
  });
  const all = await Promise.all(Array.from({ length: 20 }, () => fairlead(['ls', '--json'], { socket: path })));
  expect(all.filter(({ status }) => status !== 0)).toEqual([]);
  await door.close(1000);
});

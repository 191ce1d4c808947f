// R2 and R5 at the door for Nova, with everything behind it: a record with something wrong in it is refused by the name of the member, and
// no program is started, no directory made, and nothing of the value repeated, wherever somebody may read. The sound ones mount.

import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exchange, type HttpAnswer } from '../rig/client.js';
import { Host, leafOfUrl } from '../rig/host.js';

const INSTANCE = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const SECRET = 'hunter2';

let host: Host;
beforeAll(async () => {
  host = await Host.prepare({
    configure: (toml) => `log_level = "debug"\n${toml.replace('bin/mount.quobyte', 'bin/mount.noted')}`,
  });
  const helper = join(host.dir, 'bin/mount.noted');
  writeFileSync(helper, `#!/bin/sh\ntouch ${host.dir}/started\nexec ${host.dir}/bin/mount.quobyte "$@"\n`);
  chmodSync(helper, 0o755);
  await host.up();
});
afterAll(() => host.shutDown());

/** A record as JSON, in which one member is this text. */
function record(member: 'export' | 'name' | 'format' | 'access_mode' | 'options' | 'qos_specs', json: string): string {
  const data = { export: '"r/v"', name: '"disk"', format: '"raw"', [member]: json };
  const members = Object.entries(data).map(([name, value]) => `"${name}":${value}`);
  return `{"driver_volume_type":"quobyte","data":{${members.join(',')}}}`;
}

async function ask(verb: string, connectionInfo: string, more: string): Promise<HttpAnswer> {
  const body = Buffer.from(`{"connectionInfo":${connectionInfo},${more}}`);
  const head = `POST /v1/nova/${verb} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n`;
  const [answer] = await exchange(
    host.socket,
    Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]),
  );
  if (answer === undefined) throw new Error('there was no answer');
  return answer;
}
const connect = (info: string): Promise<HttpAnswer> => ask('connect', info, `"instance":"${INSTANCE}"`);
const disconnect = (info: string): Promise<HttpAnswer> => ask('disconnect', info, `"instance":"${INSTANCE}"`);
const describeDisk = (info: string): Promise<HttpAnswer> =>
  ask('disk-config', info, '"diskInfo":{"dev":"vdb","bus":"virtio","type":"disk"}');

const EXPORTS = [
  '"-o suid,dev"',
  '"quobyte://-o,suid,dev"',
  '"quobyte:///v"',
  '"quobyte://r/"',
  '"quobyte://quobyte://r/v"',
  '"Quobyte://r/v"',
  '"http://r/v"',
  '"local:///etc"',
  '"r/../v"',
  `"admin:${SECRET}@r/v"`,
  `"r/v?token=${SECRET}"`,
  '"r/v v"',
  '"r/v\\t"',
  '"r/v\\n"',
  '"r/v\\u0000"',
  '"r/\\u001bv"',
  '"r/\\u202ev"',
  '"r/\\ud800"',
  `"r/${'v'.repeat(4096)}"`,
  '7',
  'null',
  '["r/v"]',
  '{"__proto__":"r/v"}',
];
const NAMES = [
  '"../../etc/shadow"',
  '"/etc/shadow"',
  '"a/b"',
  '"."',
  '".."',
  '""',
  '"a\\u0000"',
  '"a\\n"',
  `"${'x'.repeat(256)}"`,
  '"-rf"',
  'null',
];
const OTHERS = [
  ['format', '"RAW"'],
  ['format', '"vmdk"'],
  ['format', '"raw,file.driver=x"'],
  ['access_mode', '"RO"'],
  ['options', '"suid,dev"'],
  ['qos_specs', '["total_iops_sec"]'],
  ['qos_specs', '{"__proto__":{"total_iops_sec":1}}'],
] as const;

describe('a record', () => {
  const hostile = [
    ...EXPORTS.map((json) => ['export', json] as const),
    ...NAMES.map((json) => ['name', json] as const),
    ...OTHERS,
  ];
  it.each(hostile)('whose %s is %s is refused by that name, and nothing is started or made', async (member, json) => {
    for (const answer of [await connect(record(member, json)), await describeDisk(record(member, json))]) {
      const { field, message } = answer.body['error'] as { readonly field: string; readonly message: string };
      expect([answer.status, field]).toEqual([400, `connectionInfo.data.${member}`]);
      expect(message).not.toMatch(/hunter2|shadow|suid|-rf/);
    }
    expect(existsSync(join(host.dir, 'started'))).toBe(false);
    expect(readdirSync(host.quobyteBase)).toEqual([]);
    expect(host.log()).not.toMatch(/hunter2|shadow|suid/);
  });

  it('with a member of its own called __proto__ is refused', async () => {
    const data = '{"export":"r/v","name":"disk"}';
    const answer = await connect(`{"driver_volume_type":"quobyte","data":${data},"__proto__":{"data":${data}}}`);
    expect(answer.body['error']).toMatchObject({ code: 'invalid-argument', field: 'connectionInfo' });
  });

  it('of another kind of volume is refused', async () => {
    const answer = await connect('{"driver_volume_type":"nfs","data":{"export":"r/v","name":"disk"}}');
    expect(answer.body['error']).toMatchObject({ field: 'connectionInfo.driver_volume_type' });
  });

  it('that is nested ten thousand deep, or too long, is answered like any other', async () => {
    const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    expect((await describeDisk(record('options', deep))).status).toBe(400);
    const unused = `{"driver_volume_type":"quobyte","data":{"export":"r/v","name":"disk","later":${deep}}}`;
    expect((await describeDisk(unused)).status).toBe(200);
    expect((await connect(record('name', `"${'x'.repeat(70_000)}"`))).body['error']).toMatchObject({ field: 'body' });
  });

  it.each([
    ['with the scheme', 'quobyte://192.168.1.1/s1', 's1'],
    ['without it', '192.168.1.1/s2', 's2'],
    ['with several registries and ports', 'reg1:7861,reg2:7861,reg3/s3', 's3'],
    ['with an IPv6 address', '[2001:db8::1]:7861/s4', 's4'],
  ])('that names its volume %s is connected and disconnected', async (_, exported, name) => {
    await host.volume(name);
    const info = record('export', JSON.stringify(exported));
    const { status, body } = await connect(info);
    expect([status, body['path']]).toEqual([200, join(host.quobyteBase, leafOfUrl(exported), 'disk')]);
    expect(host.mounts()).toHaveLength(1);
    expect((await disconnect(info)).body['outcome']).toBe('released');
    expect(host.mounts()).toEqual([]);
  });
});

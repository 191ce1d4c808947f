import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toXml, type Element } from '../../../../src/core/xml.js';
import { FairleadError } from '../../../../src/core/errors.js';
import { type Description, readDescription } from '../../../../src/hypervisor/libvirt/domain-xml.js';
import { readNamedFiles } from '../../../../src/hypervisor/libvirt/xml-files.js';

const UUID = '1d026d2a-290d-46ac-97ed-a73e12cc34b8';
const wrap = (devices: string, beside = '', id = " id='3'"): string =>
  `<domain type='kvm'${id}><name>one</name><uuid>${UUID}</uuid>${beside}<devices>${devices}</devices></domain>`;
const read = (devices: string, beside = ''): Description => readDescription(wrap(devices, beside));

function refusal(xml: string): string {
  try {
    readDescription(xml);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    expect(error.message).not.toContain('/');
    return error.code;
  }
  return 'it was read';
}

/** As a running libvirt 9.0 describes a disk whose image rests on another, while a copy is being made of it. */
const LIVE_DISK = `<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>
  <source file='/mnt/a/top.qcow2' index='3'>
    <slices><slice type='storage' offset='0' size='1024'/></slices>
    <dataStore type='file'><format type='raw'/><source file='/mnt/b/data.raw'/></dataStore>
  </source>
  <backingStore type='file' index='2'>
    <format type='qcow2'/><source file='/mnt/c/middle.qcow2'/>
    <backingStore type='block'><format type='raw'/><source dev='/dev/vg/base'/><backingStore/></backingStore>
  </backingStore>
  <mirror type='file' file='/mnt/d/old-form' format='qcow2' job='copy' ready='yes'>
    <format type='qcow2'/><source file='/mnt/d/copy.qcow2' index='9'/>
  </mirror>
  <target dev='vdb' bus='virtio'/>
  <iotune><total_bytes_sec>1000</total_bytes_sec></iotune>
  <serial>5d2ac0dc-1634</serial>
  <alias name='virtio-disk1'/>
  <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
</disk>`;

describe('a description', () => {
  it('says who the domain is, and whether it runs', () => {
    expect(readDescription(wrap(''))).toEqual({
      uuid: UUID,
      name: 'one',
      running: true,
      disks: [],
      untold: [],
      files: [],
      poolVolumes: [],
    });
    expect(readDescription(wrap('', '', '')).running).toBe(false);
    expect(readDescription(wrap('').replace('<name>one<', '<name>&lt;a&amp;b&gt; é<')).name).toBe('<a&b> é');
    expect(readDescription(wrap('').replace(UUID, UUID.toUpperCase())).uuid).toBe(UUID);
  });

  it('tells a disk, and apart from it what the disk rests on', () => {
    const { disks, files } = read(LIVE_DISK);
    expect(disks).toEqual([
      {
        target: 'vdb',
        bus: 'virtio',
        path: '/mnt/a/top.qcow2',
        format: 'qcow2',
        readOnly: false,
        serial: '5d2ac0dc-1634',
      },
    ]);
    expect(files).toEqual([
      '/mnt/b/data.raw',
      '/mnt/c/middle.qcow2',
      '/dev/vg/base',
      '/mnt/d/old-form',
      '/mnt/d/copy.qcow2',
    ]);
  });

  const disk = (type: string, inside: string): string =>
    `<disk type='${type}'>${inside}<target dev='sda' bus='scsi'/></disk>`;
  it.each([
    ['an empty drive', disk('file', ''), null, []],
    ['a drive whose medium was taken out', disk('file', "<source file=''/>"), null, []],
    ['a block device', disk('block', "<source dev='/dev/sdb'/>"), null, ['/dev/sdb']],
    ['a directory as a disk', disk('dir', "<source dir='/mnt/a/dir'/>"), null, ['/mnt/a/dir']],
    [
      'a network disk',
      disk('network', "<source protocol='nbd' name='/x'><host transport='unix' socket='/run/n'/></source>"),
      null,
      ['/x', '/run/n'],
    ],
    ['a file that is named in escapes', disk('file', "<source file='/mnt/a/it&apos;s &#233;'/>"), "/mnt/a/it's é", []],
    ['a disk without a type, which is a file', "<disk><source file='/a/b'/><target dev='sda'/></disk>", '/a/b', []],
  ])('tells %s', (_, xml, path, others) => {
    const { disks, files } = read(xml);
    expect(disks).toHaveLength(1);
    expect(disks[0]?.path).toBe(path);
    expect(files).toEqual(others);
  });

  it.each([
    ['whose end is told', "<backingStore type='file'><source file='/b'/><backingStore/></backingStore>", []],
    ['that rests on nothing', '<backingStore/>', []],
    ['of which nothing is told', '', ['/a/b']],
    ['that is told in part', "<backingStore type='file'><source file='/b'/></backingStore>", ['/a/b']],
    ['of whose copy only it is told', "<mirror type='file'><source file='/c'/><backingStore/></mirror>", ['/a/b']],
  ])('knows a chain %s', (_, chain, untold) => {
    const xml = `<disk type='file'><driver type='qcow2'/><source file='/a/b'/>${chain}<target dev='vda'/></disk>`;
    expect(read(xml).untold).toEqual(untold);
    expect(read(xml + LIVE_DISK).untold).toEqual(untold);
    expect(read(xml.replace("type='qcow2'", "type='raw'")).untold).toEqual([]);
    expect(read(xml.replace("<source file='/a/b'/>", '')).untold).toEqual([]);
  });

  it('tells read-only disks, and those whose format and bus libvirt does not name', () => {
    const { disks } = read("<disk type='file'><source file='/a/b'/><target dev='hda'/><readonly/></disk>");
    expect(disks[0]).toEqual({ target: 'hda', bus: null, path: '/a/b', format: null, readOnly: true, serial: null });
  });

  it('tells volumes of pools, wherever a disk rests on one', () => {
    const chain = "<backingStore type='volume'><source pool='q' volume='w'/></backingStore>";
    expect(read(disk('volume', `<source pool='p' volume='v'/>${chain}`)).poolVolumes).toEqual([
      { pool: 'p', volume: 'v' },
      { pool: 'q', volume: 'w' },
    ]);
  });

  it.each([
    ['a kernel', '<os><kernel>/mnt/a/vmlinuz</kernel></os>', '/mnt/a/vmlinuz'],
    ['an initial ramdisk', '<os><initrd> /mnt/a/initrd\n</initrd></os>', '/mnt/a/initrd'],
    ['firmware', "<os><loader readonly='yes' type='pflash'>/mnt/a/code.fd</loader></os>", '/mnt/a/code.fd'],
    ['firmware variables', "<os><nvram template='/usr/share/vars'>/mnt/a/vars.fd</nvram></os>", '/mnt/a/vars.fd'],
    ['firmware variables in a source', "<os><nvram type='file'><source file='/mnt/a/v'/></nvram></os>", '/mnt/a/v'],
    ['a device tree', '<os><dtb>/mnt/a/dtb</dtb></os>', '/mnt/a/dtb'],
    ['a path within character data', '<os><kernel><![CDATA[/mnt/a/k]]></kernel></os>', '/mnt/a/k'],
    ['a shared directory', "<devices2><filesystem><source dir='/mnt/a/dir'/></filesystem></devices2>", '/mnt/a/dir'],
    ['a log', "<x><serial type='file'><source path='/mnt/a/log'/></serial></x>", '/mnt/a/log'],
    [
      "an argument of QEMU's",
      "<qemu:commandline><qemu:arg value='file=/mnt/a/x,format=raw'/></qemu:commandline>",
      '/mnt/a/x',
    ],
    [
      "a JSON argument of QEMU's",
      `<qemu:commandline><qemu:arg value='{"filename":"/mnt/a/x"}'/></qemu:commandline>`,
      '/mnt/a/x',
    ],
    [
      "an environment variable of QEMU's",
      "<qemu:commandline><qemu:env name='X' value='/mnt/a/x'/></qemu:commandline>",
      '/mnt/a/x',
    ],
    [
      'a path within a pseudo protocol',
      `<x><source file='json:{"driver":"qcow2","file":{"filename":"/mnt/a/x"}}'/></x>`,
      '/mnt/a/x',
    ],
    ['a path within other text', '<x>nbd:unix:/mnt/a/x:exportname=y</x>', '/mnt/a/x'],
    ['anything that libvirt may yet invent', "<future><thing at='/mnt/a/x'/></future>", '/mnt/a/x'],
  ])('tells %s', (_, beside, path) => {
    expect(read('', beside).files).toContain(path);
  });

  it('takes nothing of what its author says to people, or of the emulator, for a file', () => {
    const said = '<title>/a</title><description>/b</description><metadata><x y="/c"><z>/d</z></x></metadata>';
    expect(read('<emulator>/usr/bin/qemu</emulator>', said)).toMatchObject({ files: [] });
    expect(read('', `${said}<os><kernel>/mnt/a/k</kernel></os>`).files).toEqual(['/mnt/a/k']);
  });

  it('of a snapshot tells all files, its own and those of the domain in it', () => {
    const xml = `<domainsnapshot><disks><disk><source file='/new'/></disk></disks>${wrap(LIVE_DISK)}</domainsnapshot>`;
    const { files, poolVolumes } = readNamedFiles(xml, 'domainsnapshot');
    expect(files).toEqual(expect.arrayContaining(['/new', '/mnt/a/top.qcow2', '/mnt/c/middle.qcow2']));
    expect(poolVolumes).toEqual([]);
    const kinds = ['domaincheckpoint', 'domainbackup'] as const;
    for (const kind of kinds) expect(() => readNamedFiles(xml, kind)).toThrow('cannot read');
    expect(() => readNamedFiles(xml.slice(0, -1), 'domainsnapshot')).toThrow('cannot read');
  });

  it('tells each file once', () => {
    expect(read('', '<a>/x</a><b>/x</b>').files).toEqual(['/x']);
  });
});

describe('what is no description is refused as a whole:', () => {
  const bomb = `<!DOCTYPE domain [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>`;
  const many = (count: number, text: string): string => text.repeat(count);
  it.each([
    ['nothing', ''],
    ['no XML', 'hello'],
    ['another document', `<network><name>one</name><uuid>${UUID}</uuid></network>`],
    ['half of one', wrap(LIVE_DISK).slice(0, -20)],
    ['two', wrap('') + wrap('')],
    ['one with entities', wrap('').replace('<domain', `${bomb}<domain`)],
    ['one with an outside entity', wrap('').replace('<domain', `<!DOCTYPE d SYSTEM "file:///etc/passwd"><domain`)],
    ['one that uses an entity of its own', wrap('').replace('one', '&a;')],
    ['one with an attribute twice', wrap("<disk type='file' type='block'/>")],
    ['one without a UUID', wrap('').replace(/<uuid>.*<\/uuid>/, '')],
    ['one with two UUIDs', wrap('', `<uuid>${UUID}</uuid>`)],
    ['one with a UUID that is none', wrap('').replace(UUID, 'x')],
    ['one without a name', wrap('').replace('<name>one</name>', '')],
    ['one with two names', wrap('', '<name>two</name>')],
    ['a disk without a target', wrap("<disk type='file'><source file='/a'/></disk>")],
    ['a path that is too long', wrap(`<x y='/${many(4095, 'a')}'/>`)],
    ['a disk with a path that is too long', wrap(`<disk><source file='/${many(4095, 'a')}'/><target dev='a'/></disk>`)],
    ['too many disks', wrap(many(4097, "<disk><target dev='a'/></disk>"))],
    ['too many files', wrap(Array.from({ length: 4097 }, (_, index) => `<x y='/${index}'/>`).join(''))],
    ['too many levels', wrap(many(600, '<backingStore>') + many(600, '</backingStore>'))],
    ['one that is too large', wrap(`<x y='${many(4_200_000, ' ')}'/>`)],
    ['one with a control character', wrap('').replace('one', 'o\u0001e')],
  ])('%s', (_, xml) => {
    expect(refusal(xml)).toBe('helper-failed');
  });

  it('deep nests of long names are refused before they cost anything', () => {
    const name = 'n'.repeat(4000);
    const began = performance.now();
    expect(refusal(wrap(many(511, `<${name}>`) + many(511, `</${name}>`)))).toBe('helper-failed');
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

it('finds every path that anybody can hide in a description', () => {
  const word = fc
    .stringMatching(/^[a-z][a-zA-Z:]{0,8}$/)
    .filter((name) => !/^(title|description|metadata|name|uuid|resource|emulator|disk|serial)$/.test(name));
  const path = fc
    .string({ minLength: 1, maxLength: 20 })
    .map((tail) => `/${tail.trim()}`)
    .filter((text) => !/[\ud800-\udfff\ufffe\uffff]/.test(text) && text === text.trim());
  const { tree } = fc.letrec<{ tree: Element }>((tie) => ({
    tree: fc.record({
      name: word,
      attributes: fc.dictionary(
        word.filter((name) => !name.includes(':')),
        path,
        { maxKeys: 3, noNullPrototype: true },
      ),
      content: fc.oneof({ depthSize: 'small' }, path, fc.array(tie('tree'), { maxLength: 3 })),
    }),
  }));
  const paths = (element: Element): readonly string[] => {
    const { attributes = {}, content = [], name } = element;
    const free = /(?:^|:)(?:arg|env)$/.test(name);
    const inner = typeof content === 'string' ? [content] : content.flatMap(paths);
    return free ? inner : [...Object.values(attributes), ...inner];
  };
  fc.assert(
    fc.property(tree, (element) => {
      const { files } = read('', toXml(element));
      for (const one of paths(element)) expect(files).toContain(one);
    }),
  );
});

it('makes nothing but an answer or a refusal of whatever text', () => {
  const pieces = fc.constantFrom(
    '<',
    '>',
    '/',
    '&',
    ';',
    "'",
    '"',
    '=',
    '<disk',
    '<source file=',
    '</',
    ']]>',
    '<!--',
    '<![CDATA[',
    '<?x ',
    'a',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string({ unit: 'binary', maxLength: 3 })), { maxLength: 40 }), (parts) => {
      for (const xml of [parts.join(''), wrap(parts.join(''))]) {
        try {
          readDescription(xml);
        } catch (error) {
          expect(error).toBeInstanceOf(FairleadError);
        }
      }
    }),
    { numRuns: 500 },
  );
});

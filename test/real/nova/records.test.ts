// Thousands of connection records, to the original driver under the real Nova and to Fairlead's door. Where both describe the disk the
// descriptions are equal, and whatever differs is one, and only one, of the deviations that docs/nova-deviations.md lists.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { FairleadError } from '../../../src/core/errors.js';
import { checkBody, parseJson } from '../../../src/doors/http/body.js';
import { NOVA_ROUTES } from '../../../src/doors/nova/routes.js';
import { NOVAS, whyNoNova, type NovaVersion } from '../../rig/nova/compute.js';
import { deviationsOf } from '../../rig/nova/deviations.js';
import { novaCases, type NovaCase } from '../../rig/nova/records.js';
import { ROOT, run } from '../../rig/programs.js';

const RECORDS = 4000;
const SEED = 26;
const MOUNT_BASE = '/var/lib/fairlead/mnt/quobyte';
/** What Fairlead's door says to a case. */
type Ours = { readonly xml: string } | { readonly field: string; readonly message: string };
/** What came out of one case. */
interface Outcome {
  readonly given: NovaCase;
  readonly ours: Ours;
  /** The original's description in canonical form, or the exception's class. */
  readonly nova: { readonly xml: string } | { readonly error: string };
  /** Our description in canonical form. */
  readonly canonical: string | null;
}

/** Through the door: from the bytes of a request to the reply. */
async function ask({ connectionInfo, diskInfo, secret }: NovaCase): Promise<Ours> {
  const [route] = NOVA_ROUTES.filter(({ name }) => name === 'novaDiskConfig');
  if (route === undefined || route.body === null) throw new Error('there is no such route');
  const more = secret === null ? '' : `,"secret":"${secret}"`;
  const bytes = Buffer.from(`{"connectionInfo":${connectionInfo},"diskInfo":${diskInfo}${more}}`);
  const volumes = {
    parseVolume,
    mountBaseOf: () => MOUNT_BASE,
    driverOf: () => ({ cache: 'none', io: 'native' }) as const,
  };
  try {
    const body = checkBody(route.body, parseJson(bytes));
    const context = { deadlineMs: 1, signal: new AbortController().signal };
    // The engine is not there to be asked: describing a disk opens nothing.
    const house = { volumes, engine: undefined as never, vm: null, version: '' };
    return {
      xml: ((await route.answer({ body, leaf: '', flags: new Set() }, context, house)) as { readonly xml: string }).xml,
    };
  } catch (error) {
    if (!(error instanceof FairleadError) || error.code !== 'invalid-argument') throw error;
    return { field: error.field ?? '', message: error.message };
  }
}

async function outcomes(version: NovaVersion): Promise<readonly Outcome[]> {
  const cases = novaCases(RECORDS, SEED);
  const ours = await Promise.all(cases.map(ask));
  const input = cases.map((given, index) => {
    const one = ours[index];
    return { ...given, xml: one !== undefined && 'xml' in one ? one.xml : null };
  });
  const { status, stdout, stderr } = await run(
    NOVAS[version].python,
    [join(ROOT, 'test/rig/nova/describe.py'), MOUNT_BASE],
    {
      input: JSON.stringify(input),
    },
  );
  if (status !== 0) throw new Error(`Nova ended with ${status}: ${stderr}`);
  const answers = JSON.parse(stdout) as readonly { xml: string | null; error: string | null; other: string | null }[];
  expect(answers).toHaveLength(RECORDS);
  return cases.map((given, index) => {
    const [mine, theirs] = [ours[index], answers[index]];
    if (mine === undefined || theirs === undefined) throw new Error('there are fewer answers than cases');
    const nova = theirs.xml === null ? { error: theirs.error ?? '' } : { xml: theirs.xml };
    return { given, ours: mine, nova, canonical: theirs.other };
  });
}

type Kind = 'refused' | 'taken' | 'other';

/** In what way two answers differ, or null. */
function kindOf({ ours, nova, canonical }: Outcome): Kind | null {
  if ('xml' in nova && !('xml' in ours)) return 'refused';
  if (!('xml' in nova) && 'xml' in ours) return 'taken';
  return 'xml' in nova && nova.xml !== canonical ? 'other' : null;
}

/** A refusal of this member, whose message has these words. */
function refusing(member: RegExp, words = /(?:)/): (outcome: Outcome) => boolean {
  return ({ ours }) => 'field' in ours && member.test(ours.field) && words.test(ours.message);
}

const inRecord = (member: string): RegExp => new RegExp(`^connectionInfo\\.${member}$`);
const CONTRADICTION = /cannot be set together|needs (?:total|read|write|a limit)/;
const ALIAS = /<alias name="([^"]*)"><\/alias>/;
const withoutAlias = (xml: string | null): string | undefined => xml?.replace(ALIAS, '');

/** Which difference is which deviation, by the names of docs/nova-deviations.md. */
const DEVIATIONS: Readonly<Record<string, (outcome: Outcome) => boolean>> = {
  export: refusing(inRecord('data\\.export')),
  name: refusing(inRecord('data\\.name')),
  format: refusing(inRecord('data\\.format')),
  options: refusing(inRecord('data\\.options')),
  limit: refusing(inRecord('data\\.qos_specs\\..*'), /whole number/),
  'limits that contradict each other': refusing(inRecord('data\\.qos_specs\\..*'), CONTRADICTION),
  'limits that are no object': refusing(inRecord('data\\.qos_specs'), /must be a JSON object/),
  'access mode': refusing(inRecord('data\\.access_mode'), /must be one of/),
  discard: refusing(inRecord('data\\.discard')),
  multiattach: refusing(inRecord('multiattach'), /true or false/),
  'multiattach of a qcow2': refusing(inRecord('multiattach'), /format raw/),
  'block size': refusing(inRecord('data\\.(?:logical|physical)_block_size')),
  'block size as a number': ({ given, nova }) =>
    'error' in nova && nova.error === 'TypeError' && /_block_size":\d/.test(given.connectionInfo),
  serial: refusing(inRecord('serial')),
  'volume id': refusing(inRecord('data\\.volume_id')),
  'mount point base': refusing(inRecord('mount_point_base')),
  'encrypted without a secret': refusing(/^secret$/),
  'member `__proto__`': refusing(/^connectionInfo/, /__proto__/),
  'read-only on ide or sata': refusing(inRecord('data\\.access_mode'), /buses ide and sata/),
  'device type': refusing(/^diskInfo\.type$/),
  'device name': refusing(/^diskInfo\.dev$/),
  bus: refusing(/^diskInfo\.bus$/),
  unit: refusing(/^diskInfo\.unit$/),
  'alias, where Nova has none (26)': ({ nova, canonical }) =>
    'xml' in nova && !ALIAS.test(nova.xml) && ALIAS.test(canonical ?? '') && nova.xml === withoutAlias(canonical),
  'alias, where libvirt drops it (34)': ({ nova, canonical }) => {
    if (!('xml' in nova) || canonical === null || ALIAS.test(canonical)) return false;
    const dropped = ALIAS.exec(nova.xml)?.[1] ?? '';
    return (dropped === 'ua-None' || !/^ua-[A-Za-z0-9_-]+$/.test(dropped)) && withoutAlias(nova.xml) === canonical;
  },
};

const listed = deviationsOf(readFileSync(join(ROOT, 'docs/nova-deviations.md'), 'utf8'), 'The description of a disk');

it('every deviation that is listed can be told from the others, and none is told that is not listed', () => {
  expect(Object.keys(DEVIATIONS)).toEqual(listed.map(({ name }) => name));
  for (const { cells } of listed) for (const cell of cells) expect(cell).not.toBe('');
});

describe.each(['26', '34'] as const)('beside Nova %s', (version) => {
  const why = whyNoNova(version);
  const skipped = why === null ? '' : ` (skipped: ${why})`;
  it.skipIf(why !== null)(`${RECORDS} records: the same description, or a listed deviation${skipped}`, async () => {
    await compare(version);
  });
});

async function compare(version: NovaVersion): Promise<void> {
  const all = await outcomes(version);
  for (const { ours } of all) expect(JSON.stringify(ours)).not.toMatch(/hunter2|shadow/);
  const differing = all.filter((one) => kindOf(one) !== null);
  const agreeing = all.filter(({ ours, nova }) => 'xml' in ours && 'xml' in nova);
  expect(agreeing.length).toBeGreaterThan(RECORDS / 4);
  const seen = new Map<string, number>();
  const unlisted: unknown[] = [];
  for (const one of differing) {
    const names = Object.entries(DEVIATIONS).filter(([, fits]) => fits(one));
    const [name = ''] = names[0] ?? [];
    if (names.length !== 1 || listed.find((row) => row.name === name)?.cells[0] !== kindOf(one)) {
      unlisted.push([names.map(([each]) => each), kindOf(one), one]);
    } else seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  expect(unlisted.slice(0, 3)).toEqual([]);
  const other = version === '26' ? '(34)' : '(26)';
  const expected = listed.map(({ name }) => name).filter((name) => !name.endsWith(other));
  expect([...seen.keys()].sort()).toEqual(expected.sort());
}

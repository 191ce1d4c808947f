// `hello`, `survey` and `domain`: what libvirt's domains are. The agent is told where a file lies only if that is below a mount base, or has a
// leaf's name in its path, since a base may be reached in other ways too: the disks of other guests are not its business, beyond the device
// names that they take.

import type { Domain } from '../../core/domains.js';
import { parseDomainName } from '../../core/domains.js';
import { INVENTORY_PART_BYTES } from '../../core/limits.js';
import { isBelow } from '../../core/paths.js';
import { BACKEND_NAMES, isLeaf } from '../../core/volume.js';
import type { Context } from '../context.js';
import { PROTOCOL_VERSION, type ResultOf, type SurveyPart } from '../protocol.js';
import type { Handler } from './handler.js';

/** The first request of every connection. Versions are compared by whoever asks. */
export const hello: Handler<'hello'> = () => Promise.resolve({ version: PROTOCOL_VERSION });

/** All domains, in parts. */
export const survey: Handler<'survey'> = async ({ context, deadline, emit }) => {
  const { domains, complete } = await context.libvirt.survey(deadline.remaining);
  let part: SurveyPart['domains'] = [];
  let bytes = 0;
  for (const domain of domains) {
    const shown = show(context, domain);
    part.push(shown);
    bytes += JSON.stringify(shown).length;
    if (bytes < INVENTORY_PART_BYTES) continue;
    emit({ domains: part } satisfies SurveyPart);
    part = [];
    bytes = 0;
  }
  if (part.length > 0) emit({ domains: part } satisfies SurveyPart);
  return { complete };
};

/** One domain. */
export const domain: Handler<'domain'> = async ({ context, deadline }, { name }) =>
  show(context, await context.libvirt.domain(parseDomainName(name, 'domain'), deadline.remaining));

function show({ settings }: Context, { uuid, name, running, disks, otherFiles }: Domain): ResultOf<'domain'> {
  const isOurs = (path: string): boolean =>
    path.split('/').some(isLeaf) ||
    BACKEND_NAMES.some((backend) => isBelow(path, settings.backends[backend].mountBase));
  return {
    uuid,
    name,
    running,
    disks: disks.map((disk) =>
      disk.path === null || isOurs(disk.path) ? { ...disk } : { ...disk, path: null, serial: null },
    ),
    otherFiles: otherFiles.filter(isOurs),
  };
}

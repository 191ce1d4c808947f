// THE TABLE: everything the hypervisor process can be asked for, by whom, with which arguments, who carries it out, and why it has to
// be here at all. There is no other way in. The reasons are those of SECURITY.md.

import { verb, type Verb } from '../link/session.js';
import type { Context } from './context.js';
import { create } from './handlers/create.js';
import { domain, hello, survey } from './handlers/domains.js';
import { examine } from './handlers/examine.js';
import { grow } from './handlers/grow.js';
import { plug } from './handlers/plug.js';
import { unplug } from './handlers/unplug.js';
import { REQUESTS, type VerbName } from './protocol.js';

/** See the file's head. */
export const VERBS: { readonly [V in VerbName]: Verb<Context> } = {
  hello: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.hello,
    handler: hello,
    reason: 'Agent and hypervisor process must be of one version. Tells the version; takes nothing.',
  }),
  survey: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.survey,
    handler: survey,
    reason:
      "libvirt's socket is as good as root, so only this process has it. Tells names and UUIDs of all domains and the device names of their disks; paths and serials only of files below a mount base, or below a directory with a leaf's name, or that a copy of such a mount leads to; the same of what their snapshots name.",
  }),
  domain: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.domain,
    handler: domain,
    reason: 'The same of one domain.',
  }),
  create: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.create,
    handler: create,
    reason:
      "Only the image user may write to a volume. Makes a new file of one of two formats, as that user, directly in an allowed volume that is mounted; never writes over anything, and the file's name appears when it is complete.",
  }),
  plug: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.plug,
    handler: plug,
    reason:
      'libvirt adds a disk to a domain. The XML is written here from parsed parts; the file is a regular one directly in an allowed, mounted volume, and a qcow2 names no file that it may not. Nothing is put in the place of another disk.',
  }),
  unplug: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.unplug,
    handler: unplug,
    reason:
      'libvirt takes a disk from a domain. Only one whose file is the disk of a volume below a mount base; the guest is asked, never forced.',
  }),
  grow: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.grow,
    handler: grow,
    reason:
      'libvirt grows a disk that running domains have; qemu-img, as the image user and on files that are open already, one that none has. Never makes one smaller; only a disk that the named domain has.',
  }),
  examine: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.examine,
    handler: examine,
    reason:
      'Whether libvirt answers and qemu-img may be trusted decides what works. Reads facts of configured paths only.',
  }),
};

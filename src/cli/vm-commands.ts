// The commands of `fairlead vm`: disks of virtual machines. As in commands.ts, the agent checks what is said; only sizes are read here, since
// the agent takes bytes.

import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS } from '../core/limits.js';
import { parseSize } from '../core/numbers.js';
import {
  DISK,
  fields,
  flag,
  GOES_ON,
  get,
  LONG,
  misuse,
  post,
  SHORT,
  SHOW_HELPER_OUTPUT,
  URL_OPERAND,
  type Command,
  type Given,
  type Operand,
  type Question,
} from './command.js';
import { showAttach, showDetach, showExtend, showVmDisks } from './show-vm.js';

const DOMAIN: Operand = { name: 'DOMAIN', field: 'domain' };
const TARGET: Operand = { name: 'TARGET', field: 'target' };

/** Everything that can be said after `fairlead vm`. */
export const VM_COMMANDS: readonly Command[] = [
  {
    name: 'vm attach',
    summary: 'give a domain a disk of a volume: mount the volume if needed, hot-plug, see it in the domain',
    operands: [DOMAIN, URL_OPERAND],
    options: {
      disk: { ...DISK, required: true },
      format: { value: 'raw|qcow2', description: 'what is in the file; never detected; default raw' },
      target: { value: 'DEV', description: "the guest's device name; default the first free one, from vdb or sdb on" },
      bus: { value: 'virtio|scsi', description: 'how the guest sees it; default virtio' },
      'read-only': { value: null, description: 'the guest may only read' },
      persistent: { value: null, description: "at the domain's next start too; needed where it does not run" },
      create: { value: 'SIZE', description: 'make an image of that size if the file does not exist, for instance 10G' },
      timeout: LONG,
      'show-helper-output': SHOW_HELPER_OUTPUT,
    },
    question: (given: Given): Question => {
      const [domain, url] = given.operands;
      const { create } = given.text;
      return post('/v1/vm/attach', given, DEFAULT_DEADLINE_MS, {
        domain,
        url,
        ...fields(given, 'disk', 'format', 'target', 'bus'),
        ...flag(given, 'read-only', 'readOnly'),
        ...flag(given, 'persistent', 'persistent'),
        ...(create === undefined ? {} : { createBytes: parseSize(create, 'create') }),
      });
    },
    show: showAttach,
    interrupted: GOES_ON,
    notes: [
      '--timeout is the time of the mount helper too, if mount_timeout is not sooner: then it is ended, unless what it started may serve somebody. Ctrl-C stops nothing.',
      'DOMAIN is a name or a UUID, as virsh list shows them. Saying it again changes nothing. What fails is undone; only an image that was made stays.',
      'SIZE is in bytes, or with K, M, G or T (powers of 1024). A file that exists is never touched.',
    ],
  },
  {
    name: 'vm detach',
    summary: 'take a disk from a domain, and end its attachment once the guest has let go',
    operands: [DOMAIN, { name: 'TARGET or URL', field: 'target' }],
    options: { disk: DISK, timeout: LONG, 'show-helper-output': SHOW_HELPER_OUTPUT },
    usage: 'DOMAIN (TARGET | URL --disk NAME) [--timeout S] [--show-helper-output]',
    question: (given: Given): Question => {
      const [domain, choice = ''] = given.operands;
      const { disk } = given.text;
      if (disk === undefined && choice.includes('/')) {
        throw misuse('--disk is missing: a disk is named by its target alone, or by URL and --disk.', 'disk');
      }
      if (disk !== undefined && !choice.includes('/')) {
        throw misuse('--disk goes with a URL: a disk is named by its target alone, or by URL and --disk.', 'disk');
      }
      const chosen = disk === undefined ? { target: choice } : { url: choice, disk };
      return post('/v1/vm/detach', given, DEFAULT_DEADLINE_MS, { domain, ...chosen });
    },
    show: showDetach,
    interrupted: GOES_ON,
    notes: [
      'A guest that refuses keeps the disk and its attachment; the error is busy. Outcomes of the mount are those of disconnect.',
      'For a domain that does not exist any more: its UUID, with URL and --disk, ends what is left of its attachment.',
    ],
  },
  {
    name: 'vm extend',
    summary: 'grow a disk that a domain has, while it runs or while it does not',
    operands: [DOMAIN, TARGET, { name: 'SIZE', field: 'size' }],
    options: { timeout: LONG },
    question: (given: Given): Question => {
      const [domain, target, size] = given.operands;
      return post('/v1/vm/extend', given, DEFAULT_DEADLINE_MS, { domain, target, bytes: parseSize(size, 'size') });
    },
    show: showExtend,
    interrupted: GOES_ON,
    notes: [
      'SIZE is the new size: bytes, or a number with K, M, G or T (powers of 1024). No disk is ever made smaller.',
    ],
  },
  {
    name: 'vm ls',
    summary: 'which domains have which disks of volumes, and attachments whose domain or disk is gone',
    operands: [],
    options: { timeout: SHORT },
    question: (given) => get('/v1/vm/disks', given, DEFAULT_SHORT_DEADLINE_MS),
    show: showVmDisks,
    notes: [],
  },
];

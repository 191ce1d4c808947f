// The commands, as a table: what each takes, what it asks the agent, and how its answer reads for people. The help, the
// reference page docs/reference/cli.md and the parsing of arguments are made from it. Nothing is checked here that the
// agent checks: it gives the same refusal to every client.

import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS } from '../core/limits.js';
import {
  DISK,
  fields,
  flag,
  GOES_ON,
  LONG,
  post,
  SHORT,
  SHOW_HELPER_OUTPUT,
  URL_OPERAND,
  type Command,
  type Group,
  type Option,
} from './command.js';
import {
  showAbort,
  showConnect,
  showDisconnect,
  showDisk,
  showFindings,
  showLift,
  showMounts,
  showValidate,
} from './show.js';
import { VM_COMMANDS } from './vm-commands.js';

const CONSUMER: Option = {
  value: 'KIND:ID',
  description: 'who uses it: nova:UUID, vm:UUID, csi:ID, docker:ID or cli:NAME',
  required: true,
};

/** Options of every command. */
export const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  json: { value: null, description: 'print one JSON object on standard output, errors too' },
  socket: { value: 'PATH', description: "the agent's socket; else FAIRLEAD_SOCKET, else /run/fairlead/agent.sock" },
  help: { value: null, description: 'this text (also -h)' },
};

/** Those that this command takes: one that asks no agent has no use for a socket. */
export function commonOptions({ question }: Command): Readonly<Record<string, Option>> {
  return Object.fromEntries(Object.entries(COMMON_OPTIONS).filter(([name]) => name !== 'socket' || question !== null));
}

/** Words that several commands begin with. */
export const GROUPS: readonly Group[] = [
  { name: 'vm', summary: 'disks of virtual machines that libvirt runs: given, taken away, grown, listed' },
];

/** Everything that can be said to `fairlead`. */
export const COMMANDS: readonly Command[] = [
  {
    name: 'up',
    summary: 'run broker, agent and (for libvirt) hypervisor process in the foreground; says when they are ready',
    operands: [],
    options: {
      config: { value: 'FILE', description: 'the configuration; default /etc/fairlead/fairlead.toml' },
    },
    question: null,
    show: () => '',
    notes: [
      'To be started as root. Directories that are missing are made; unsound ones are refused with the command that mends them.',
      'The agent listens at agent.sock in the run_dir of the configuration.',
      'SIGTERM and Ctrl-C end it within 10 seconds. Mounts in use stay as they are. SIGHUP, as from a terminal that is closed, changes nothing: the configuration is read at the start only.',
      'A log that cannot be written stops nothing: how many lines were lost is logged when there is room again.',
    ],
  },
  {
    name: 'connect',
    summary: 'make an attachment exist: mount the volume if needed, prove it, say where it is',
    operands: [URL_OPERAND],
    options: {
      disk: DISK,
      consumer: CONSUMER,
      'read-only': { value: null, description: 'the attachment only reads' },
      timeout: LONG,
      'show-helper-output': SHOW_HELPER_OUTPUT,
      'dry-run': { value: null, description: 'only say what would be done' },
    },
    question: (given) =>
      post('/v1/connect', given, DEFAULT_DEADLINE_MS, {
        url: given.operands[0],
        ...fields(given, 'disk', 'consumer'),
        ...flag(given, 'read-only', 'readOnly'),
        ...flag(given, 'dry-run', 'dryRun'),
      }),
    show: showConnect,
    interrupted:
      'Unless the attachment was made already, none is: the agent waits for the end of the mount helper, and undoes what it began. fairlead ls shows what is left.',
    notes: [
      '--timeout is the time of the mount helper too, if mount_timeout is not sooner: then it is ended, unless what it started may serve somebody, and what was begun is undone. Ctrl-C ends no helper early; when the helper has ended, what was begun is undone.',
      'Saying it again changes nothing. A disk need not exist yet: the answer says whether it does.',
    ],
  },
  {
    name: 'disconnect',
    summary: 'end an attachment; unmount the volume if nobody else uses it',
    operands: [URL_OPERAND],
    options: { disk: DISK, consumer: CONSUMER, timeout: LONG, 'show-helper-output': SHOW_HELPER_OUTPUT },
    question: (given) =>
      post('/v1/disconnect', given, DEFAULT_DEADLINE_MS, {
        url: given.operands[0],
        ...fields(given, 'disk', 'consumer'),
      }),
    show: showDisconnect,
    interrupted: GOES_ON,
    notes: [
      '--timeout is the time of an unmount helper too: then it is ended. Ctrl-C stops nothing.',

      'Every outcome is an answer with exit status 0: released, releasing, still-used, busy, hung, not-connected. After busy, hung and releasing Fairlead goes on trying by itself.',
      'An attachment is named by volume, consumer and disk together: what was connected with --disk is disconnected with the same --disk.',
    ],
  },
  {
    name: 'validate',
    summary: 'the verdict on a volume now, and why',
    operands: [URL_OPERAND],
    options: { timeout: SHORT },
    question: (given) => post('/v1/validate', given, DEFAULT_SHORT_DEADLINE_MS, { url: given.operands[0] }),
    show: showValidate,
    notes: ['Every verdict is an answer with exit status 0: healthy, absent, foreign, stale, hung, denied, read-only.'],
  },
  {
    name: 'ls',
    summary: 'mounts, attachments, holds, verdicts, what is releasing and what is stuck',
    operands: [],
    options: {},
    question: () => ({ method: 'GET', path: '/v1/mounts', deadlineMs: DEFAULT_SHORT_DEADLINE_MS }),
    show: showMounts,
    notes: [],
  },
  {
    name: 'disk-config',
    summary: "a disk's description for libvirt; opens nothing and needs no mount",
    operands: [URL_OPERAND],
    options: {
      disk: { ...DISK, required: true },
      format: { value: 'FORMAT', description: 'raw or qcow2; never detected; default raw' },
      target: { value: 'DEV', description: "the guest's device name; default vdb" },
      bus: { value: 'BUS', description: 'virtio, scsi, sata, ide or usb; default virtio' },
      serial: { value: 'TEXT', description: 'serial number that the guest sees' },
      'read-only': { value: null, description: 'the guest may only read' },
      xml: { value: null, description: "print libvirt's <disk> element and nothing else" },
    },
    question: (given) =>
      post('/v1/disk-config', given, DEFAULT_SHORT_DEADLINE_MS, {
        url: given.operands[0],
        ...fields(given, 'disk', 'format', 'target', 'bus'),
        ...flag(given, 'read-only', 'readOnly'),
        ...(given.text['serial'] === undefined ? {} : { options: fields(given, 'serial') }),
      }),
    show: (reply, given) => showDisk(reply, given.flags.has('xml') ? 'xml' : 'table'),
    notes: [],
  },
  {
    name: 'doctor',
    summary: 'what is wrong on this host, and the command that mends it',
    operands: [],
    options: {},
    question: () => ({ method: 'GET', path: '/v1/doctor', deadlineMs: DEFAULT_SHORT_DEADLINE_MS }),
    show: showFindings,
    exit: (reply: unknown): number => {
      const { findings } = reply as { readonly findings: readonly { readonly severity: string }[] };
      return findings.some(({ severity }) => severity === 'error') ? 1 : 0;
    },
    notes: ['Exit status 1 when it found an error, 0 when it found nothing or only warnings.'],
  },
  {
    name: 'lift-hold',
    summary: 'lift the hold of a mount that was found without a record; it is released unless it is used',
    operands: [{ name: 'LEAF', field: 'leaf' }],
    options: {
      force: { value: null, description: 'lift it whoever uses the mount, and even if that cannot be found out' },
    },
    question: ({ operands: [leaf = ''], flags }) => ({
      method: 'DELETE',
      path: `/v1/mounts/${encodeURIComponent(leaf)}/hold${flags.has('force') ? '?force=true' : ''}`,
      deadlineMs: DEFAULT_SHORT_DEADLINE_MS,
    }),
    show: showLift,
    interrupted: GOES_ON,
    notes: [
      'It is refused as busy while a domain, running or stopped, names a file there, while a process has something open there, and while that cannot be found out.',
      'Say it only when you know that nobody uses the mount: whoever uses it without libvirt and has nothing open now is not seen.',
    ],
  },
  {
    name: 'abort',
    summary: 'abort the connection of a mount that hangs; everybody with open files there gets errors',
    operands: [{ name: 'LEAF', field: 'leaf' }],
    options: {},
    question: ({ operands: [leaf = ''] }) => ({
      method: 'DELETE',
      path: `/v1/mounts/${encodeURIComponent(leaf)}/connection`,
      deadlineMs: DEFAULT_DEADLINE_MS,
    }),
    show: showAbort,
    interrupted: GOES_ON,
    notes: [
      'The last way out, for a storage service that will not answer again. Only a mount that hangs at this moment is aborted.',
      'Processes with open files there see "Transport endpoint is not connected" and must be restarted: ls shows them. The volume is mounted again for its users as soon as its storage answers; a guest may have the disk detached and attached again instead of being restarted.',
    ],
  },
  ...VM_COMMANDS,
];

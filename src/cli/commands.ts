// The commands, as a table: what each takes, what it asks the agent, and how its answer reads for people. The help, the
// reference page docs/reference/cli.md and the parsing of arguments are made from it. Nothing is checked here that the
// agent checks: it gives the same refusal to every client.

import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS, MAX_DEADLINE_MS } from '../core/limits.js';
import { parseDecimal } from '../core/numbers.js';
import { showConnect, showDisconnect, showDisk, showFindings, showLift, showMounts, showValidate } from './show.js';

/** One option of a command. */
export interface Option {
  /** What stands for its value in the help; null: it takes none. */
  readonly value: string | null;
  readonly description: string;
  readonly required?: true;
}

/** The arguments of a command, by their names; options that were not given are absent. */
export interface Given {
  readonly operand: string;
  readonly text: Readonly<Record<string, string>>;
  readonly flags: ReadonlySet<string>;
}

/** What is sent to the agent. */
export interface Question {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Milliseconds within which the agent is to answer. */
  readonly deadlineMs: number;
}

/** One command. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  /** What stands for the operand in the help; null: there is none. */
  readonly operand: 'URL' | 'LEAF' | null;
  readonly options: Readonly<Record<string, Option>>;
  /** Null: it is not the agent who is asked (`up`). */
  readonly question: ((given: Given) => Question) | null;
  /** The answer as text for people. */
  show(reply: unknown, given: Given): string;
  /** Exit status of an answer; errors have theirs from their code. */
  exit?(reply: unknown): number;
  /** Sentences for the help, beyond the summary. */
  readonly notes: readonly string[];
}

const DISK: Option = { value: 'NAME', description: 'a file in the volume: one path component' };
const CONSUMER: Option = {
  value: 'KIND:ID',
  description: 'who uses it: nova:UUID, vm:UUID, csi:ID, docker:ID or cli:NAME',
  required: true,
};
const timeout = (seconds: number): Option => ({
  value: 'S',
  description: `seconds within which an answer is wanted, 1 to ${MAX_DEADLINE_MS / 1000}; default ${seconds}`,
});
const LONG = timeout(DEFAULT_DEADLINE_MS / 1000);
const SHORT = timeout(DEFAULT_SHORT_DEADLINE_MS / 1000);

/** Options of every command. */
export const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  json: { value: null, description: 'print one JSON object on standard output, errors too' },
  socket: { value: 'PATH', description: "the agent's socket; else FAIRLEAD_SOCKET, else /run/fairlead/agent.sock" },
  help: { value: null, description: 'this text (also -h)' },
};

function deadline(given: Given, fallbackMs: number): number {
  const { timeout: seconds } = given.text;
  if (seconds === undefined) return fallbackMs;
  return parseDecimal(seconds, 'timeout', { min: 1, max: MAX_DEADLINE_MS / 1000 }) * 1000;
}

function post(path: string, given: Given, fallbackMs: number, body: Record<string, unknown>): Question {
  const deadlineMs = deadline(given, fallbackMs);
  const timeoutMs = given.text['timeout'] === undefined ? {} : { timeoutMs: deadlineMs };
  return { method: 'POST', path, deadlineMs, body: { url: given.operand, ...body, ...timeoutMs } };
}

/** The options of these names, as fields of a body. */
function fields(given: Given, ...names: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(given.text).filter(([name]) => names.includes(name)));
}

function flag(given: Given, option: string, field: string): Record<string, true> {
  return given.flags.has(option) ? { [field]: true } : {};
}

/** Everything that can be said to `fairlead`. */
export const COMMANDS: readonly Command[] = [
  {
    name: 'up',
    summary: 'run broker and agent in the foreground; says when they are ready',
    operand: null,
    options: {
      config: { value: 'FILE', description: 'the configuration; default /etc/fairlead/fairlead.toml' },
    },
    question: null,
    show: () => '',
    notes: [
      'To be started as root. Directories that are missing are made; unsound ones are refused with the command that mends them.',
      'SIGTERM and Ctrl-C end it within 10 seconds. Mounts in use stay as they are.',
    ],
  },
  {
    name: 'connect',
    summary: 'make an attachment exist: mount the volume if needed, prove it, say where it is',
    operand: 'URL',
    options: {
      disk: DISK,
      consumer: CONSUMER,
      'read-only': { value: null, description: 'the attachment only reads' },
      timeout: LONG,
      'dry-run': { value: null, description: 'only say what would be done' },
    },
    question: (given) =>
      post('/v1/connect', given, DEFAULT_DEADLINE_MS, {
        ...fields(given, 'disk', 'consumer'),
        ...flag(given, 'read-only', 'readOnly'),
        ...flag(given, 'dry-run', 'dryRun'),
      }),
    show: showConnect,
    notes: ['Saying it again changes nothing. A disk need not exist yet: the answer says whether it does.'],
  },
  {
    name: 'disconnect',
    summary: 'end an attachment; unmount the volume if nobody else uses it',
    operand: 'URL',
    options: { disk: DISK, consumer: CONSUMER, timeout: LONG },
    question: (given) => post('/v1/disconnect', given, DEFAULT_DEADLINE_MS, fields(given, 'disk', 'consumer')),
    show: showDisconnect,
    notes: [
      'Every outcome is an answer with exit status 0: released, still-used, busy, hung, not-connected. After busy and hung Fairlead goes on trying by itself.',
    ],
  },
  {
    name: 'validate',
    summary: 'the verdict on a volume now, and why',
    operand: 'URL',
    options: { timeout: SHORT },
    question: (given) => post('/v1/validate', given, DEFAULT_SHORT_DEADLINE_MS, {}),
    show: showValidate,
    notes: ['Every verdict is an answer with exit status 0: healthy, absent, foreign, stale, hung, denied, read-only.'],
  },
  {
    name: 'ls',
    summary: 'mounts, attachments, holds, verdicts, what is releasing and what is stuck',
    operand: null,
    options: {},
    question: () => ({ method: 'GET', path: '/v1/mounts', deadlineMs: DEFAULT_SHORT_DEADLINE_MS }),
    show: showMounts,
    notes: [],
  },
  {
    name: 'disk-config',
    summary: "a disk's description for libvirt; opens nothing and needs no mount",
    operand: 'URL',
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
    operand: null,
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
    operand: 'LEAF',
    options: {},
    question: ({ operand }) => ({
      method: 'DELETE',
      path: `/v1/mounts/${encodeURIComponent(operand)}/hold`,
      deadlineMs: DEFAULT_SHORT_DEADLINE_MS,
    }),
    show: showLift,
    notes: [
      'Say it only when you know that nobody uses the mount: guests that were not started by Fairlead count too.',
    ],
  },
];

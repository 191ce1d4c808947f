// What may go wrong in a run, and how often: eight profiles, from nothing at all to everything at once.

import type { Mood } from './moods.js';
import type { Deed } from './outsiders.js';

/** One kind of trouble. */
export type Trouble =
  | Deed
  | 'hang'
  | 'hang-answered'
  | 'stale'
  | 'failing'
  | 'die'
  | 'recover'
  | 'rights'
  | 'cover'
  | 'uncover'
  | 'double'
  | 'base'
  | 'take-away'
  | 'nova-mounts'
  | 'operator-aborts'
  | 'operator-asks'
  | 'operator-lifts'
  | 'junk'
  | 'sources'
  | 'pile'
  | 'broker-dies'
  | 'agent-dies'
  | 'both-die'
  | 'agent-stops'
  | 'cut'
  | 'silence'
  | 'link-down'
  | 'disk-full'
  | 'disk-read-only'
  | 'run-full'
  | 'disk-slow'
  | 'not-ready'
  | 'reboot'
  | 'ledger-lost'
  | 'state-put-back'
  | 'mark-lost';

/** How often each trouble, and how often each mood of a helper. */
export interface Profile {
  readonly name: string;
  readonly troubles: Readonly<Partial<Record<Trouble, number>>>;
  /** Share of helpers that misbehave. */
  readonly badHelpers: number;
  readonly crashAtPoints: number;
  /** Share of clients that need long to write back. */
  readonly slowEnds: number;
  /** Share of runs whose broker loses its notes when it dies, and of those that lose the kernel's record, or have none. */
  readonly losses: number;
  /** Mean milliseconds between two troubles. */
  readonly paceMs: number;
}

/** Ways in which a helper misbehaves. */
export const BAD_MOODS: Readonly<Record<Exclude<Mood, 'prompt'>, number>> = {
  slow: 4,
  crew: 2,
  fails: 3,
  'fails-mounted': 1,
  hangs: 3,
  'hangs-mounted': 2,
  stubborn: 1,
  wrong: 2,
  strange: 3,
  snatched: 3,
  late: 4,
  nothing: 2,
  dies: 2,
  'dies-mounted': 2,
  missing: 1,
  untrusted: 1,
};

/** What a calm run is made of. */
const NOTHING = { troubles: {}, badHelpers: 0, crashAtPoints: 0, slowEnds: 0, losses: 0 } as const;

const VOLUME_TROUBLES = {
  hang: 4,
  'hang-answered': 3,
  stale: 2,
  failing: 2,
  die: 4,
  recover: 10,
  rights: 2,
  cover: 2,
  uncover: 4,
  'take-away': 3,
  'nova-mounts': 3,
  'operator-aborts': 3,
  'operator-asks': 1,
  junk: 1,
  sources: 4,
  double: 2,
  pile: 0.3,
} as const;

const OUTSIDER_TROUBLES = {
  visitor: 2,
  pass: 1,
  copy: 2,
  bind: 1,
  move: 1,
  'lazy-umount': 1,
  'operator-lifts': 1,
} as const;

const PROCESS_TROUBLES = {
  'broker-dies': 4,
  'agent-dies': 4,
  'both-die': 1,
  'agent-stops': 1,
  cut: 3,
  silence: 1,
  'link-down': 1,
  'disk-full': 2,
  'disk-slow': 2,
  'disk-read-only': 1,
  'run-full': 1,
  'not-ready': 1,
  reboot: 1,
} as const;

/** What concerns all volumes of a backend; only where none of them is spared. */
const BASE_TROUBLES = { base: 1 } as const;

const RECORD_TROUBLES = { 'ledger-lost': 1, 'state-put-back': 1, 'mark-lost': 1 } as const;

/** The profiles that seeds are run under. */
export const PROFILES: readonly Profile[] = [
  { ...NOTHING, name: 'calm', paceMs: 5000 },
  {
    ...NOTHING,
    name: 'volumes',
    troubles: { ...VOLUME_TROUBLES, ...OUTSIDER_TROUBLES },
    badHelpers: 0.25,
    paceMs: 900,
    slowEnds: 0.3,
  },
  { ...NOTHING, name: 'processes', troubles: PROCESS_TROUBLES, crashAtPoints: 0.02, paceMs: 3000, slowEnds: 0.2 },
  {
    ...NOTHING,
    name: 'points',
    troubles: { 'nova-mounts': 1, recover: 1 },
    badHelpers: 0.1,
    crashAtPoints: 0.06,
    paceMs: 3000,
  },
  {
    ...NOTHING,
    name: 'outsiders',
    troubles: {
      ...OUTSIDER_TROUBLES,
      ...BASE_TROUBLES,
      'nova-mounts': 2,
      'broker-dies': 2,
      'run-full': 1,
      recover: 1,
    },
    badHelpers: 0.15,
    crashAtPoints: 0.01,
    paceMs: 1500,
    slowEnds: 0.5,
    losses: 0.3,
  },
  {
    ...NOTHING,
    name: 'records',
    troubles: {
      ...RECORD_TROUBLES,
      'state-put-back': 5,
      'agent-dies': 2,
      'broker-dies': 1,
      reboot: 1,
      'nova-mounts': 1,
      'operator-lifts': 1,
    },
    badHelpers: 0.05,
    crashAtPoints: 0.01,
    paceMs: 4000,
  },
  {
    name: 'everything',
    troubles: {
      ...VOLUME_TROUBLES,
      ...OUTSIDER_TROUBLES,
      ...PROCESS_TROUBLES,
      ...RECORD_TROUBLES,
      ...BASE_TROUBLES,
    },
    badHelpers: 0.15,
    crashAtPoints: 0.01,
    paceMs: 1200,
    slowEnds: 0.3,
    losses: 0.1,
  },
  {
    name: 'storm',
    troubles: { ...VOLUME_TROUBLES, ...OUTSIDER_TROUBLES, ...PROCESS_TROUBLES, ...BASE_TROUBLES },
    badHelpers: 0.3,
    crashAtPoints: 0.02,
    paceMs: 350,
    slowEnds: 0.3,
    losses: 0.1,
  },
];

// Judges every answer at the moment it is given: I4 (never wrong), I5 (in time, and not because of another volume) and
// I6 (never lied to). An answer is honest if the world was like that at some moment between request and reply.

import { MAX_OBSERVED_MOUNTS, PROBE_PING_MS } from '../../src/core/limits.js';
import type { Consumer } from '../../src/core/names.js';
import { userOf } from '../../src/core/names.js';
import type { ConnectReply, DisconnectReply, ValidateReply } from '../../src/core/requests.js';
import type { Fail } from './effects.js';
import type { History, Moment } from './history.js';
import type { Superblock } from './superblocks.js';
import { keyOf, type Call, type Truth } from './truth.js';

/** Milliseconds that an undisturbed request on an undisturbed volume may take at most. */
const CALM_MS = 2500;
/** By how much it may be longer where a probe child was stopped: a probe in vain (makers.ts), and a ping. */
const STOPPED_CHILD_MS = 2000 + PROBE_PING_MS;
/** Milliseconds that an answer takes from the server to the client. */
const ON_ITS_WAY_MS = 30;
/** Milliseconds for which a disturbance of the whole host goes on being felt (the longest pause between two attempts). */
const AFTERMATH_MS = 40_000;

/** The judge of answers. */
export class ReplyJudge {
  /** When something last happened that concerns every volume, milliseconds. */
  lastDisturbance = -Infinity;
  /** When a job was last given to a probe child that is stopped, milliseconds. */
  lastStop = -Infinity;
  /** Whether Fairlead can know that this one is there. */
  isKnowable: (superblock: Superblock) => boolean = () => true;
  /** Leaves that nothing and nobody ever disturbs in this run. */
  readonly calmLeaves = new Set<string>();
  readonly #truth: Truth;
  readonly #histories: ReadonlyMap<string, History>;
  /** Whether nobody could tell, at some moment since that step, if anybody still uses what was mounted at the leaf. */
  readonly #doubtful: (history: History, step: number) => boolean;
  readonly #fail: Fail;

  /** `histories` by leaf. */
  constructor(
    truth: Truth,
    histories: ReadonlyMap<string, History>,
    doubtful: (history: History, step: number) => boolean,
    fail: Fail,
  ) {
    this.#truth = truth;
    this.#histories = histories;
    this.#doubtful = doubtful;
    this.#fail = fail;
  }

  /** Called when a request has ended for its client. */
  judge(call: Call): void {
    const { end } = call;
    if (end === null || end.how === 'lost') return;
    const took = call.endedAt - call.beganAt;
    if (took > call.deadlineMs + 1000) this.#fail('I5', `${name(call)} took ${took} ms`);
    const isCalm = this.calmLeaves.has(call.volume.leaf);
    const undisturbed = this.lastDisturbance < call.beganAt - AFTERMATH_MS && isCalm;
    const calmMs = CALM_MS + (this.lastStop < call.beganAt - STOPPED_CHILD_MS ? 0 : STOPPED_CHILD_MS);
    if (undisturbed && took > calmMs) {
      this.#fail('I5', `${name(call)} took ${took} ms although nothing disturbed its volume`);
    }
    if (end.how === 'error') {
      if (end.code === 'internal')
        this.#fail('I6', `${name(call)} was answered with an unforeseen error: ${end.message}`);
      if (undisturbed && end.code !== 'conflict' && call.deadlineMs >= calmMs) {
        this.#fail('I5', `${name(call)} was refused (${end.code}) although nothing disturbed its volume`);
      }
      return;
    }
    switch (call.kind) {
      case 'connect':
        this.#connect(call, end.reply as ConnectReply);
        return;
      case 'disconnect':
        this.#disconnect(call, end.reply as DisconnectReply);
        return;
      case 'validate':
        this.#validate(call, end.reply as ValidateReply);
        return;
    }
  }

  /** Called when the deadline and its second are over: nobody may still be waiting. */
  overdue(call: Call): void {
    if (call.end === null)
      this.#fail('I5', `${name(call)} is not answered ${call.deadlineMs + 1000} ms after it was asked`);
  }

  #connect(call: Call, reply: ConnectReply): void {
    const history = this.#histories.get(call.volume.leaf)!;
    const usable = (moment: Moment): boolean =>
      moment.top === 'right' &&
      moment.server === 'answering' &&
      moment.hardened &&
      (moment.rights === 'all' || (moment.rights === 'read-only' && call.readOnly));
    const { now } = history;
    if (usable(now)) return;
    // A stranger may have struck after the proof; then it was true a moment ago.
    const struck = history
      .since(call.beganStep)
      .some((moment) => moment.by === 'stranger' && moment.step >= call.beganStep);
    if (struck && history.ever(call.beganStep, usable)) return;
    this.#fail('I4', `${name(call)} succeeded (${reply.verdict}) while the leaf is ${tell(now)}`);
  }

  #disconnect(call: Call, reply: DisconnectReply): void {
    const history = this.#histories.get(call.volume.leaf)!;
    const ever = (test: (moment: Moment) => boolean): boolean => history.ever(call.beganStep, test);
    const lie = (why: string): void => {
      this.#fail('I6', `${name(call)} was answered ${reply.outcome}: ${why}; the leaf is ${tell(history.now)}`);
    };
    // Under a stack that is too deep, and, for a bind of which no note is left, under any other mount, it may be still.
    const isHidden =
      reply.mounted &&
      ever(({ top, depth }) => depth > MAX_OBSERVED_MOUNTS || (call.volume.backend === 'local' && top === 'other'));
    if (!isHidden && !ever((moment) => moment.mounted === reply.mounted))
      lie(`mounted ${reply.mounted} was never true`);
    if (reply.ending && !ever((moment) => moment.ending)) lie('no client of it was ending');
    switch (reply.outcome) {
      case 'released':
        if (!ever((moment) => !moment.mounted)) lie('it was mounted all the time');
        if (!ever((moment) => !moment.living) && history.users.some(this.isKnowable))
          lie(`it is used: ${usersOf(history)}`);
        if (
          !ever((moment) => moment.strayed === 0) &&
          history.strayed.some(({ superblock }) => this.isKnowable(superblock))
        )
          lie(`it is bound at ${history.strayed.map(({ mountPoint }) => mountPoint).join(', ')}`);
        break;
      case 'releasing':
        if (!ever((moment) => !moment.mounted)) lie('the leaf was never free');
        if (!ever((moment) => moment.existing) && !this.#doubtful(history, call.beganStep)) lie('nobody could use it');
        break;
      case 'busy':
        // A stranger who mounts where we have just unmounted keeps it mounted too; and what cannot be told any more from a
        // stranger's is not touched.
        if (
          !ever(({ busy, top }) => busy || top === 'other') &&
          !ever(isTaken) &&
          !isBack(history, call) &&
          !this.#isUntold(history, call)
        )
          lie('nobody held it');
        break;
      case 'hung':
        if (!ever((moment) => moment.server === 'never-read' || moment.server === 'never-answered'))
          lie('it did not hang');
        break;
      case 'still-used':
        if (reply.usedBy.length === 0) lie('and by nobody');
        for (const user of reply.usedBy) this.#checkUser(call, user, lie);
        break;
      case 'not-connected':
        if (this.#certainlyLiveAtStart(call)) lie('the attachment was there');
        break;
    }
  }

  /** A bind whose directory is not the one that the volume names, and of which no note is left. */
  #isUntold(history: History, { beganStep }: Call): boolean {
    return history.ever(beganStep, ({ top }) => top === 'former') && this.#doubtful(history, beganStep);
  }

  #checkUser(call: Call, consumer: string, lie: (why: string) => void): void {
    if (consumer.startsWith('hold:')) return;
    const user = userOf(consumer as Consumer);
    const keys = this.#truth.keysOf(call.volume).filter((key) => key.startsWith(`${user} `));
    const possible = keys.some(
      (key) => this.#truth.certainty(key) !== 'ended' || this.#truth.inMotion(key, call.beganStep),
    );
    if (!possible) lie(`${consumer} does not use it`);
  }

  /** The attachment was acknowledged before this disconnect began, and nobody else has asked to end it since. */
  #certainlyLiveAtStart(call: Call): boolean {
    const others = this.#truth.callsOf(call.key).filter((other) => other !== call);
    const connected = others.findLast(
      (other) => other.kind === 'connect' && other.end?.how === 'reply' && other.endedStep < call.beganStep,
    );
    if (connected === undefined || connected.beganStep <= this.#truth.forgottenOf(call.key)) return false;
    return others.every(
      (other) => other.kind !== 'disconnect' || (other.end !== null && other.endedStep < connected.beganStep),
    );
  }

  #validate(call: Call, reply: ValidateReply): void {
    const history = this.#histories.get(call.volume.leaf)!;
    // An answer that is on its way while the server comes back is the old one.
    const wasHung = reply.verdict === 'hung' && history.within(ON_ITS_WAY_MS, (moment) => permits(moment, reply));
    if (!wasHung && !history.ever(call.beganStep, (moment) => permits(moment, reply))) {
      this.#fail('I6', `${name(call)} said ${reply.verdict}, which was never true; the leaf is ${tell(history.now)}`);
    }
  }
}

/** A stranger has brought an earlier mount back after the leaf was free. */
function isBack(history: History, { beganStep }: Call): boolean {
  const moments = history.since(beganStep);
  const freed = moments.findIndex(({ mounted }) => !mounted);
  return freed !== -1 && moments.slice(freed).some(({ mounted, by }) => mounted && by === 'stranger');
}

/** The right volume, mounted by a stranger a moment ago: not hardened yet. */
export function isTaken(moment: Moment): boolean {
  return moment.by === 'stranger' && moment.top === 'right' && !moment.hardened;
}

function usersOf(history: History): string {
  return history.users.flatMap(({ references }) => [...references].map(({ by }) => by)).join(', ');
}

function permits(moment: Moment, { verdict }: ValidateReply): boolean {
  switch (verdict) {
    case 'healthy':
      return moment.top === 'right' && moment.server === 'answering' && moment.rights === 'all';
    case 'absent':
      return moment.top === 'nothing' && !moment.blocked;
    case 'foreign':
      return moment.top === 'other' || moment.top === 'former' || moment.blocked;
    case 'stale':
      return moment.top === 'former' || (moment.top === 'right' && isFailing(moment));
    case 'hung':
      return moment.server === 'never-read' || moment.server === 'never-answered';
    case 'denied':
      return moment.top === 'right' && moment.rights === 'none';
    case 'read-only':
      return moment.top === 'right' && moment.rights === 'read-only';
  }
}

function isFailing({ server }: Moment): boolean {
  return server === 'dead' || server === 'stale' || server === 'failing';
}

function name(call: Call): string {
  return `${call.kind} #${call.id} (${keyOf(call.consumer, call.volume, call.disk)})`;
}

function tell(moment: Moment): string {
  const parts = [moment.top, moment.server, moment.rights, moment.hardened ? 'hardened' : 'not hardened'];
  const more = (['busy', 'blocked', 'living', 'existing', 'ending'] as const).filter((each) => moment[each]);
  return [...parts, ...more].join(', ');
}

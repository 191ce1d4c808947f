// The judges judge: each thing that must never happen is said to have happened when it did, and only then.

import { beforeEach, describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { parseConsumer } from '../../../src/core/names.js';
import type { ConnectReply, DisconnectReply, ListReply } from '../../../src/core/requests.js';
import { EffectJudge } from '../effects.js';
import { History } from '../history.js';
import type { Mount } from '../kernel.js';
import { Host } from '../machine.js';
import { chanceOf } from '../prng.js';
import { judgeFormer, judgeOrphans } from '../records.js';
import { ReplyJudge } from '../replies.js';
import { Scheduler } from '../scheduler.js';
import { keyOf, Truth, type Call, type CallEnd } from '../truth.js';

const volume = parseVolume('quobyte://r/v');
const consumer = parseConsumer('cli:ann', 'consumer');
const BASE = '/mnt/quobyte';
const POINT = `${BASE}/${volume.leaf}`;

let scheduler: Scheduler;
let host: Host;
let truth: Truth;
let broken: string[];
let effects: EffectJudge;
let replies: ReplyJudge;
let nextCall: number;
let history: History;
let doubtful: boolean;

beforeEach(() => {
  scheduler = new Scheduler(chanceOf(1), 'hash-only');
  host = new Host(scheduler, chanceOf(2));
  host.tree.plant(BASE, 0o711);
  truth = new Truth();
  broken = [];
  nextCall = 1;
  history = new History(volume, POINT, host.kernel, host.tree, scheduler);
  const fail = (invariant: string): number => broken.push(invariant);
  effects = new EffectJudge(truth, new Map([[POINT, history]]), host.kernel, [BASE], fail, () => scheduler.now);
  doubtful = false;
  replies = new ReplyJudge(truth, new Map([[volume.leaf, history]]), () => doubtful, fail);
  effects.isDoubtful = () => doubtful;
  host.kernel.observe = (effect) => effects.judge(effect);
  host.kernel.changed = (_, by) => history.record(by);
});

function mount(maker: 'fairlead' | 'stranger' = 'fairlead', serves: string | null = volume.export, at = POINT): Mount {
  const what = { mountPoint: at, fsType: 'fuse.quobyte', source: 'quobyte@r/v', from: 'fuse', serves, maker } as const;
  const made = host.kernel.mount(what);
  if (maker === 'fairlead') host.kernel.harden(made, ['nosuid', 'nodev', 'noexec', 'nosymfollow']);
  return made;
}

/** A request that began now; every call moves the world one step on. */
function ask(kind: Call['kind']): Call {
  scheduler.steps += 1;
  const key = keyOf(consumer, volume, null);
  const began = { beganAt: scheduler.now, beganStep: scheduler.steps, end: null, endedAt: 0, endedStep: 0 };
  const call: Call = {
    id: nextCall++,
    kind,
    volume,
    consumer,
    disk: null,
    readOnly: false,
    key,
    deadlineMs: 1000,
    ...began,
  };
  truth.add(call);
  return call;
}

function end(call: Call, how: CallEnd): void {
  scheduler.steps += 1;
  Object.assign(call, { end: how, endedAt: scheduler.now, endedStep: scheduler.steps });
  replies.judge(call);
}

const connected: CallEnd = { how: 'reply', reply: { attachment: 'a', verdict: 'healthy' } as ConnectReply };
const told = (
  outcome: DisconnectReply['outcome'],
  mounted: boolean,
  usedBy: string[] = [],
): { readonly how: 'reply'; readonly reply: DisconnectReply } => ({
  how: 'reply',
  reply: { outcome, mounted, ending: false, leaf: volume.leaf, usedBy, holders: [] },
});
const refused: CallEnd = { how: 'error', code: 'unhealthy', message: '' };

describe('the truth about an attachment', () => {
  it('is live after success, unknown while a disconnect is open, ended after its answer', () => {
    const key = keyOf(consumer, volume, null);
    expect(truth.certainty(key)).toBe('ended');
    mount();
    const first = ask('connect');
    expect(truth.certainty(key)).toBe('unknown');
    end(first, connected);
    expect(truth.certainty(key)).toBe('live');
    const second = ask('disconnect');
    expect(truth.certainty(key)).toBe('unknown');
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    end(second, told('released', false));
    expect(truth.certainty(key)).toBe('ended');
    expect(broken).toEqual([]);
  });

  it('is ended after a refused connect, unknown after a lost one', () => {
    const key = keyOf(consumer, volume, null);
    end(ask('connect'), refused);
    expect(truth.certainty(key)).toBe('ended');
    end(ask('connect'), { how: 'lost' });
    expect(truth.certainty(key)).toBe('unknown');
  });
});

describe('I6 of orphans', () => {
  it.each([
    ['unused', 'unused', []],
    ['unused', null, ['I6']],
    ['unused', 'no-domain', ['I6']],
    [null, 'unused', []],
  ] as const)('%s in a list where %s is true', (orphan, proven, breaks) => {
    const attachments = [{ id: 'a', consumer, disk: null, readOnly: false, since: '', orphan }];
    const list = { mounts: [{ leaf: volume.leaf, attachments }] } as unknown as ListReply;
    judgeOrphans(list, { orphanhoodOf: () => proven }, (invariant) => broken.push(invariant));
    expect(broken).toEqual(breaks);
  });
});

describe('I1', () => {
  it.each(['answering', 'never-read', 'failing'] as const)(
    'breaks when a used mount that is %s is unmounted',
    (state) => {
      const made = mount();
      end(ask('connect'), connected);
      host.kernel.setServer(made.superblock, state, 'stranger');
      host.kernel.unmount(POINT, 'plain', 'fairlead');
      expect(broken).toEqual(['I1']);
    },
  );

  it('holds when the used mount is dead, and when the stranger unmounts it', () => {
    const made = mount();
    end(ask('connect'), connected);
    host.kernel.setServer(made.superblock, 'dead', 'stranger');
    host.kernel.unmount(POINT, 'detach', 'fairlead');
    mount();
    host.kernel.unmount(POINT, 'plain', 'stranger');
    expect(broken).toEqual([]);
  });

  it('breaks when a mount that is not dead is detached lazily, used or not', () => {
    mount();
    host.kernel.unmount(POINT, 'detach', 'fairlead');
    expect(broken).toEqual(['I1']);
  });

  it('holds when evidence may have let a kept mount go, and for an attachment that its domain has left for long', () => {
    const made = mount();
    effects.kept.set(made, 'Nova made it');
    effects.mayGo = (one) => one === made;
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    mount();
    end(ask('connect'), connected);
    truth.forfeit(keyOf(consumer, volume, null), scheduler.steps);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(broken).toEqual([]);
    mount();
    end(ask('connect'), connected);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(broken).toEqual(['I1']);
  });

  it('holds for users whom an older copy of the ledger lacks, and breaks for those whom it has', () => {
    const record = { id: 'a', consumer, leaf: volume.leaf, disk: null, target: null, readOnly: false, since: '' };
    mount();
    end(ask('connect'), connected);
    truth.rewind([record], [record], scheduler.steps);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(broken).toEqual(['I1']);
    mount();
    truth.rewind([record], [], scheduler.steps);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(broken).toEqual(['I1']);
  });

  it('breaks when a kept mount is unmounted, or the server of a used one is killed', () => {
    effects.kept.set(mount(), 'Nova made it');
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(broken).toEqual(['I1']);
    const made = mount();
    end(ask('connect'), connected);
    host.kernel.setServer(made.superblock, 'dead', 'fairlead');
    expect(broken).toEqual(['I1', 'I1']);
  });
});

describe('I1 of clients', () => {
  const kill = (superblock: Mount['superblock'] | null, writesBack: boolean): void => {
    effects.judge({ kind: 'kill', superblock, writesBack, mountPoint: POINT, by: 'fairlead' });
  };

  it('breaks when one is ended while its superblock is there, whoever uses it and wherever', () => {
    const made = mount();
    host.kernel.users.open(made, null);
    host.kernel.unmount(POINT, 'detach', 'stranger');
    scheduler.now += 1000;
    kill(made.superblock, false);
    expect(broken).toEqual(['I1']);
  });

  it('breaks when one is ended while it writes back', () => {
    const { superblock } = mount();
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    kill(superblock, true);
    expect(broken).toEqual(['I1']);
  });

  it('holds when nothing was mounted, when it is dead or gone, and for what was mounted this moment', () => {
    kill(null, false);
    kill(mount().superblock, false);
    const dead = mount('stranger');
    host.kernel.setServer(dead.superblock, 'dead', 'stranger');
    scheduler.now += 1000;
    kill(dead.superblock, false);
    const gone = mount('stranger');
    host.kernel.vanish(gone);
    kill(gone.superblock, false);
    expect(broken).toEqual([]);
  });
});

describe('I1 of leaf directories', () => {
  it('breaks when one is removed on which another namespace has a copy', () => {
    host.tree.plant(POINT, 0o700);
    const made = mount();
    const copy = host.kernel.users.copy(made, host.tree.nodes.get(POINT)!, null);
    host.kernel.users.copy(made, null, null);
    host.kernel.unmount(POINT, 'plain', 'stranger');
    scheduler.now += 1000;
    const { directories } = host.machine({ name: 'broker', alive: true });
    expect(directories.removeLeaf(BASE, volume.leaf)).toBe('removed');
    expect(broken).toEqual(['I1']);
    expect(host.kernel.users.copies.has(copy)).toBe(false);
    expect(made.superblock.isGone).toBe(false);
  });
});

describe('I4', () => {
  it('breaks when connect succeeds and nothing, the wrong volume, or a dead one is mounted', () => {
    end(ask('connect'), connected);
    mount('fairlead', 'r/other');
    end(ask('connect'), connected);
    const made = mount();
    host.kernel.setServer(made.superblock, 'dead', 'stranger');
    scheduler.steps += 1;
    end(ask('connect'), connected);
    expect(broken).toEqual(['I4', 'I4', 'I4']);
  });

  it('holds when a stranger struck after the proof', () => {
    const call = ask('connect');
    const made = mount();
    host.kernel.setServer(made.superblock, 'dead', 'stranger');
    end(call, connected);
    expect(broken).toEqual([]);
  });
});

describe('I5', () => {
  it('breaks when an answer comes more than a second after its deadline, or never', () => {
    const call = ask('disconnect');
    scheduler.now += 6001;
    replies.overdue(call);
    end(call, told('not-connected', false));
    expect(broken).toEqual(['I5', 'I5']);
  });

  it('breaks when an undisturbed volume has to wait or is refused', () => {
    replies.calmLeaves.add(volume.leaf);
    const call = ask('disconnect');
    scheduler.now += 2600;
    end(call, told('not-connected', false));
    end(ask('connect'), refused);
    expect(broken).toEqual(['I5', 'I5']);
  });
});

describe('I6', () => {
  it.each([
    ['released', true],
    ['released', false],
    ['busy', true],
    ['hung', true],
    ['still-used', true],
  ] as const)('breaks when %s (mounted %s) was never true', (outcome, mounted) => {
    mount();
    end(ask('disconnect'), told(outcome, mounted, outcome === 'still-used' ? ['cli:bob'] : []));
    expect(broken).not.toEqual([]);
    expect(new Set(broken)).toEqual(new Set(['I6']));
  });

  it('breaks when a live attachment is called not connected', () => {
    mount();
    end(ask('connect'), connected);
    end(ask('disconnect'), told('not-connected', true));
    expect(broken).toEqual(['I6']);
  });

  it('holds for what was true once between question and answer', () => {
    const made = mount();
    const call = ask('disconnect');
    const use = host.kernel.users.open(made, { pid: 1, command: 'qemu', by: 'descriptor' });
    host.kernel.users.close(use);
    end(call, told('busy', true));
    expect(broken).toEqual([]);
  });
});

describe('I6 of what is released', () => {
  it.each([
    ['released', 'open', ['I6']],
    ['releasing', 'open', []],
    ['released', 'closed', []],
    ['releasing', 'closed', ['I6']],
    ['released', 'dead', []],
  ] as const)('%s while a file of the detached mount is %s', (outcome, state, breaks) => {
    const made = mount();
    const use = host.kernel.users.open(made, null);
    host.kernel.unmount(POINT, 'detach', 'stranger');
    if (state === 'closed') host.kernel.users.close(use);
    if (state === 'dead') host.kernel.setServer(made.superblock, 'dead', 'stranger');
    scheduler.steps += 1;
    end(ask('disconnect'), told(outcome, false));
    expect(broken).toEqual(breaks);
  });

  it('holds for releasing where nobody could tell that nobody uses it', () => {
    doubtful = true;
    end(ask('disconnect'), told('releasing', false));
    expect(broken).toEqual([]);
  });

  it('breaks when an end is spoken of and no process is ending', () => {
    const call: CallEnd = { how: 'reply', reply: { ...told('released', false).reply, ending: true } };
    end(ask('disconnect'), call);
    expect(broken).toEqual(['I6']);
    history.processes = () => ({ serve: false, end: true });
    history.record('stranger');
    end(ask('disconnect'), call);
    expect(broken).toEqual(['I6']);
  });

  it.each([
    ['releasing', true, []],
    ['releasing', false, ['I6']],
    ['ending', true, ['I6']],
  ] as const)('%s in a list while a superblock is there: %s', (state, isThere, breaks) => {
    if (isThere) {
      host.kernel.users.open(mount(), null);
      host.kernel.unmount(POINT, 'detach', 'stranger');
    }
    const list = { mounts: [{ leaf: volume.leaf, former: [{ state }] }] } as unknown as ListReply;
    judgeFormer(
      list,
      [history],
      () => doubtful,
      (invariant) => broken.push(invariant),
    );
    expect(broken).toEqual(breaks);
  });
});

describe('I7', () => {
  it('breaks when anything outside a leaf is touched', () => {
    mount('fairlead', volume.export, '/etc');
    mount('fairlead', volume.export, `${BASE}/../other`);
    expect(broken).toEqual(['I7', 'I7', 'I7', 'I7']);
  });

  it("breaks when a stranger's mount is unmounted, changed or mounted over", () => {
    const foreign = mount('stranger', null);
    scheduler.now += 1000;
    effects.judge({ kind: 'harden', mount: foreign, by: 'fairlead' });
    effects.judge({ kind: 'start-helper', mountPoint: POINT, by: 'fairlead' });
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(broken).toEqual(['I7', 'I7', 'I7']);
  });
});

describe('I8', () => {
  it('breaks when a volume is mounted over itself', () => {
    mount();
    mount();
    expect(broken).toEqual(['I8']);
  });

  it('holds when a helper mounts that was given up, since nobody could tell what it serves', () => {
    mount();
    const madeBy = { step: 0, at: 0, isGivenUp: true, isOrphan: false };
    effects.judge({ kind: 'mount', mountPoint: POINT, madeBy, by: 'fairlead' });
    expect(broken).toEqual(['I8']);
    doubtful = true;
    effects.judge({ kind: 'mount', mountPoint: POINT, madeBy, by: 'fairlead' });
    expect(broken).toEqual(['I8']);
  });
});

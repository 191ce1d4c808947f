import { afterEach, describe, expect, it, vi } from 'vitest';
import { Prober, type ProbeTarget } from '../../../src/broker/prober.js';
import { MAX_JOBS_PER_PROBE_CHILD, MAX_LEAKED_PROBE_CHILDREN, PROBE_PING_MS } from '../../../src/core/limits.js';
import type { ProbeFacts } from '../../../src/core/verdict.js';
import { FakeMachine, failing, healthy, MOUNTPOINT } from './fake-machine.js';

const target = (over: Partial<ProbeTarget> = {}): ProbeTarget => ({
  dev: '0:50',
  mountpoint: MOUNTPOINT,
  witness: null,
  timeoutMs: 200,
  accessUid: 0,
  accessGid: 0,
  ...over,
});
const hung = (facts: ProbeFacts): boolean => facts.statfs.end === 'hung';

function world(): { machine: FakeMachine; prober: Prober } {
  const machine = new FakeMachine();
  return { machine, prober: new Prober(machine) };
}

const posted = (machine: FakeMachine): number => machine.children.reduce((sum, { posted }) => sum + posted.length, 0);

afterEach(() => {
  vi.useRealTimers();
});

describe('probes of one volume', () => {
  it('that wait at the same time share one, which began after all of them', async () => {
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    const first = prober.probe(target(), 'read-only');
    const later = (['read-only', 'read-write', 'read-only'] as const).map((access) => prober.probe(target(), access));
    expect(posted(machine)).toBe(1);
    const [child] = machine.children;
    child?.reply(child.posted[0]?.id ?? 0, failing('EIO'));
    expect(await first).toMatchObject({ statfs: { end: 'failed' } });
    await expect.poll(() => posted(machine)).toBe(2);
    expect(child?.posted[1]?.job).toMatchObject({ kind: 'probe', access: 'read-write' });
    child?.reply(child.posted[1]?.id ?? 0, healthy());
    for (const facts of await Promise.all(later)) expect(facts.statfs.end).toBe('answered');
    expect(posted(machine)).toBe(2);
  });

  it('look for the disks of all who share them, and tell each of his own', async () => {
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    const first = prober.probe(target(), 'read-only');
    const later = ['one', 'two', 'one', null].map((name) => prober.probeWith(target(), 'read-only', name));
    const [child] = machine.children;
    child?.reply(child.posted[0]?.id ?? 0, healthy());
    await first;
    await expect.poll(() => posted(machine)).toBe(2);
    expect(child?.posted[1]?.job).toMatchObject({ disks: ['one', 'two'] });
    const [one, two] = [{ state: 'regular' } as const, { state: 'failed', errno: 'EIO' } as const];
    child?.reply(child.posted[1]?.id ?? 0, { ...healthy(), disks: [one, two] });
    expect((await Promise.all(later)).map(({ disk }) => disk)).toEqual([one, two, one, null]);
  });

  it('that come to no answer tell of no disk', async () => {
    const { machine, prober } = world();
    machine.answer = () => failing('ENOTCONN');
    expect((await prober.probeWith(target(), 'read-only', 'one')).disk).toBeNull();
  });

  it('that hang are answered hung, cost one thread, and free it when they are answered', async () => {
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    const waiting = [1, 2, 3].map(() => prober.probe(target(), 'read-only'));
    for (const facts of await Promise.all(waiting)) expect(hung(facts)).toBe(true);
    const began = performance.now();
    expect(hung(await prober.probe(target(), 'read-only'))).toBe(true);
    expect(await prober.disk(target(), 'disk')).toEqual({ end: 'hung' });
    expect(performance.now() - began).toBeLessThan(30);
    expect(posted(machine)).toBe(1);
    expect(prober.using(target())).toBe('hung');
    const [child] = machine.children;
    child?.reply(child.posted[0]?.id ?? 0, failing('ENOTCONN'));
    machine.answer = () => healthy();
    await expect.poll(() => prober.using(target())).toBe('no');
    expect((await prober.probe(target(), 'read-only')).statfs.end).toBe('answered');
  });

  it('of the mount that replaced a hung one are not held up', async () => {
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    expect(hung(await prober.probe(target(), 'read-only'))).toBe(true);
    machine.answer = () => healthy();
    expect((await prober.probe(target({ dev: '0:51' }), 'read-only')).statfs.end).toBe('answered');
  });

  it('are asked once more when their child died, and then given up', async () => {
    const { machine, prober } = world();
    let asked = 0;
    machine.answer = () => {
      asked += 1;
      machine.children.at(-1)?.die();
      return 'hang';
    };
    await expect(prober.probe(target(), 'read-only')).rejects.toMatchObject({ code: 'unavailable' });
    expect(asked).toBe(2);
  });

  it("join the server's word to root with the rights of the user that will use it", async () => {
    const { machine, prober } = world();
    machine.answer = () => {
      const asRoot = machine.children.length === 1;
      const answer = healthy();
      if (asRoot) return answer;
      return { ...answer, facts: { ...answer.facts, write: { errno: 'EACCES' }, witness: 'absent' } };
    };
    const facts = await prober.probe(target({ accessUid: 107, accessGid: 107 }), 'read-write');
    expect(facts).toMatchObject({ write: { errno: 'EACCES' }, search: 'granted', witness: 'present' });
    expect(machine.children).toHaveLength(2);
  });
});

describe('a probe child that somebody stopped', () => {
  it('says nothing about the server: the probe is made once more in a new one', async () => {
    const { machine, prober } = world();
    machine.answer = () => (machine.children.length === 1 ? 'hang' : healthy());
    const asked = prober.probe(target(), 'read-only');
    const [child] = machine.children;
    if (child !== undefined) child.stopped = true;
    expect(await asked).toMatchObject({ statfs: { end: 'answered' } });
    expect(child?.killed).toBe(true);
    await expect.poll(() => prober.using(target())).toBe('no');
  });

  it('says nothing about another volume that it was asked about a moment later', async () => {
    vi.useFakeTimers();
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    const first = prober.probe(target(), 'read-only');
    const [child] = machine.children;
    if (child !== undefined) child.stopped = true;
    // Its time is over a moment after the child was replaced.
    const timeoutMs = 200 + PROBE_PING_MS + 10;
    const second = prober.probe(target({ dev: '0:51', timeoutMs }), 'read-only');
    await vi.advanceTimersByTimeAsync(timeoutMs + 100);
    const [, next] = machine.children;
    expect(next?.posted).toHaveLength(2);
    for (const { id } of next?.posted ?? []) next?.reply(id, healthy());
    for (const asked of [first, second]) expect(await asked).toMatchObject({ statfs: { end: 'answered' } });
    expect(machine.children).toHaveLength(2);
  });

  it('twice is an error, never a hung server, though the killed children stay', async () => {
    const { machine, prober } = world();
    machine.childrenAreStuck = true;
    machine.answer = () => {
      for (const child of machine.children) child.stopped = true;
      return 'hang';
    };
    await expect(prober.probe(target(), 'read-only')).rejects.toMatchObject({ code: 'unavailable' });
    expect(machine.children.map(({ killed }) => killed)).toEqual([true, true]);
    await expect.poll(() => prober.using(target())).toBe('no');
  });
});

describe('a thousand hung volumes', () => {
  it('do not delay a living one, and cost no more children than there may be', async () => {
    const { machine, prober } = world();
    machine.answer = (job) => (job.kind === 'probe' && job.path.startsWith('/hung') ? 'hang' : healthy());
    const many = Array.from({ length: 1000 }, (_, n) =>
      prober.probe(target({ mountpoint: `/hung/${n}`, timeoutMs: 1500 }), 'read-only'),
    );
    for (const facts of await Promise.all(many)) expect(hung(facts)).toBe(true);
    const began = performance.now();
    expect((await prober.probe(target(), 'read-only')).statfs.end).toBe('answered');
    expect(performance.now() - began).toBeLessThan(100);
    expect(machine.children.length).toBeLessThanOrEqual(MAX_LEAKED_PROBE_CHILDREN);
    for (const { posted: jobs } of machine.children)
      expect(jobs.length).toBeLessThanOrEqual(MAX_JOBS_PER_PROBE_CHILD + 1);
  });

  it('and more than there is room for: the next is refused, not queued', async () => {
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    const room = MAX_LEAKED_PROBE_CHILDREN * MAX_JOBS_PER_PROBE_CHILD;
    for (let n = 0; n < room; n += 1)
      void prober.probe(target({ mountpoint: `/hung/${n}`, timeoutMs: 5000 }), 'read-only');
    await expect.poll(() => posted(machine), { timeout: 10_000 }).toBe(room);
    await expect(prober.probe(target({ timeoutMs: 5000 }), 'read-only')).rejects.toMatchObject({
      code: 'resource-exhausted',
    });
    expect(machine.children).toHaveLength(MAX_LEAKED_PROBE_CHILDREN);
  });
});

describe('unmounts', () => {
  it('have children of their own, so hung probes never starve them', async () => {
    const { machine, prober } = world();
    machine.answer = (job) => (job.kind === 'unmount' ? { kind: 'unmount', errno: null } : 'hang');
    for (let n = 0; n < MAX_JOBS_PER_PROBE_CHILD; n += 1) {
      void prober.probe(target({ mountpoint: `/hung/${n}`, timeoutMs: 5000 }), 'read-only');
    }
    expect(await prober.acts.unmount('/srv/base', 'leaf', 'plain')).toEqual({ end: 'answered', errno: null });
  });

  it('are outstanding until they end, and one that never ends can be killed', async () => {
    const { machine, prober } = world();
    machine.answer = () => 'hang';
    const end = prober.acts.unmount('/srv/base', 'leaf', 'plain');
    expect(prober.acts.acting('/srv/base/leaf')).toBe(true);
    await expect(prober.acts.unmount('/srv/base', 'leaf', 'detach')).rejects.toThrow();
    machine.childrenAreStuck = true;
    expect(await prober.acts.end('/srv/base/leaf', 30)).toBe(false);
    machine.childrenAreStuck = false;
    expect(await prober.acts.end('/srv/base/leaf', 1000)).toBe(true);
    expect(await end).toEqual({ end: 'lost' });
    expect(prober.acts.acting('/srv/base/leaf')).toBe(false);
  });

  it('go to another child when one was killed and cannot end', async () => {
    const { machine, prober } = world();
    machine.childrenAreStuck = true;
    machine.answer = (job) => ('leaf' in job && job.leaf === 'other' ? { kind: 'unmount', errno: null } : 'hang');
    void prober.acts.unmount('/srv/base', 'leaf', 'plain');
    void prober.acts.unmount('/srv/base', 'third', 'plain');
    const ending = prober.acts.end('/srv/base/leaf', 100);
    expect(await prober.acts.unmount('/srv/base', 'other', 'plain')).toEqual({ end: 'answered', errno: null });
    expect(await ending).toBe(false);
    expect(machine.children.map(({ killed, posted }) => [killed, posted.length])).toEqual([
      [true, 2],
      [false, 1],
    ]);
    expect(prober.acts.acting('/srv/base/third')).toBe(true);
  });

  it('and probes are done by processes that are ours, and known as such', async () => {
    const { machine, prober } = world();
    await prober.probe(target(), 'read-only');
    await prober.acts.unmount('/srv/base', 'leaf', 'plain');
    expect([...prober.pids].sort()).toEqual(machine.children.map(({ pid }) => pid).sort());
    prober.close();
    expect(machine.children.every(({ killed }) => killed)).toBe(true);
  });
});

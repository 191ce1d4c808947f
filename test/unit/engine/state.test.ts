import { describe, expect, it } from 'vitest';
import type { Consumer } from '../../../src/core/names.js';
import { State } from '../../../src/engine/state.js';
import { ALICE, attached, BOB, cutOff, DISK, held, recorded, VOLUME, volumeOf } from './bench.js';

const LEAF = VOLUME.leaf;
const UUID = '0b7d1e4a-6f52-4c3b-9a51-2f1f0c9d8e77';
const NOVA = `nova:${UUID}` as Consumer;
const VM = `vm:${UUID}` as Consumer;

describe('the state', () => {
  it('knows who uses a mount until each has gone', () => {
    const state = new State();
    state.apply([recorded('mounted'), attached(ALICE), attached(BOB)]);
    expect([state.isUsed(LEAF), state.usersOf(LEAF)]).toEqual([true, [ALICE, BOB]]);
    state.apply([{ kind: 'end-attachment', id: `${LEAF} ${ALICE}` }]);
    expect([state.isUsed(LEAF), state.usersOf(LEAF)]).toEqual([true, [BOB]]);
    state.apply([{ kind: 'end-attachment', id: `${LEAF} ${BOB}` }]);
    expect([state.isUsed(LEAF), state.usersOf(LEAF)]).toEqual([false, []]);
  });

  it('does not mind the end of an attachment that it does not know', () => {
    const state = new State();
    state.apply([attached(ALICE), { kind: 'end-attachment', id: 'another' }]);
    expect(state.attachmentsOf(LEAF)).toHaveLength(1);
  });

  it('counts an attachment once, however often it is put', () => {
    const state = new State();
    state.apply([attached(ALICE), attached(ALICE)]);
    expect(state.attachmentsOf(LEAF)).toHaveLength(1);
  });

  it('takes a hold for a user', () => {
    const state = new State();
    state.apply([recorded('mounted'), held()]);
    expect([state.isUsed(LEAF), state.usersOf(LEAF)]).toEqual([true, ['hold:inherited']]);
    state.apply([{ kind: 'lift-hold', leaf: LEAF }]);
    expect(state.isUsed(LEAF)).toBe(false);
  });

  it('takes a Nova instance and its domain for one user', () => {
    const state = new State();
    state.apply([attached(NOVA)]);
    expect(state.findAttachment(LEAF, VM, null)?.consumer).toBe(NOVA);
    state.apply([attached(VM)]);
    expect(state.usersOf(LEAF)).toHaveLength(1);
  });

  it('tells attachments of one consumer apart by volume and disk, and leaves published ones alone', () => {
    const state = new State();
    state.apply([attached(ALICE)]);
    expect(state.findAttachment(LEAF, ALICE, null)).toBeDefined();
    expect(state.findAttachment(LEAF, ALICE, DISK)).toBeUndefined();
    expect(state.findAttachment(LEAF, BOB, null)).toBeUndefined();
    expect(state.findAttachment(volumeOf('other').leaf, ALICE, null)).toBeUndefined();
    const [attachment] = state.attachmentsOf(LEAF);
    state.apply([{ kind: 'put-attachment', attachment: { ...attachment!, target: '/published' } }]);
    expect(state.findAttachment(LEAF, ALICE, null)).toBeUndefined();
  });

  it('has one open operation a leaf', () => {
    const state = new State();
    state.apply([cutOff('connect', ['mount'], true), cutOff('release', ['unmount'], true)]);
    expect([...state.operations.values()].map(({ kind }) => kind)).toEqual(['release']);
    state.apply([{ kind: 'close-operation', id: state.operations.get(LEAF)!.id }]);
    expect(state.operations.size).toBe(0);
  });

  it('names every leaf that anything is recorded of', () => {
    const volumes = ['a', 'b', 'c', 'd'].map(volumeOf);
    const [a, b, c, d] = volumes as [typeof VOLUME, typeof VOLUME, typeof VOLUME, typeof VOLUME];
    const state = new State();
    state.apply([recorded('mounted', 'boot-1', a), attached(ALICE, b), held(c), cutOff('release', [], false, d)]);
    expect(new Set(state.leaves())).toEqual(new Set(volumes.map(({ leaf }) => leaf)));
  });

  it('forgets what was seen of a mount with the mount, and a stranger when the leaf becomes ours', () => {
    const state = new State();
    state.strangers.set(LEAF, { leaf: LEAF, backend: 'quobyte', mountpoint: '/mnt', state: 'foreign' });
    state.apply([recorded('mounted')]);
    expect(state.strangers.size).toBe(0);
    state.sightOf(LEAF).vanished = true;
    state.apply([{ kind: 'forget-mount', leaf: LEAF }]);
    expect(state.sightOf(LEAF).vanished).toBe(false);
  });

  it('is after a restart what it was before', () => {
    const before = new State();
    before.apply([recorded('releasing'), attached(ALICE), held(), cutOff('release', ['unmount'], true)]);
    const after = new State();
    after.restore({
      origin: 'existing',
      mounts: [...before.mounts.values()],
      attachments: before.attachmentsOf(LEAF),
      holds: [...before.holds.values()],
      operations: [...before.operations.values()],
      setAside: [],
    });
    expect(after).toEqual(before);
  });
});

// Two ends of a connection in memory, for tests of both sides of the protocol.

import type { Transport } from '../../../src/core/frames.js';

export interface End extends Transport {
  readonly open: () => boolean;
}

export function pipe(): readonly [End, End] {
  let open = true;
  const closers: (() => void)[] = [];
  const close = (): void => {
    if (!open) return;
    open = false;
    for (const closer of closers) queueMicrotask(closer);
  };
  const half = (): { data: (bytes: Uint8Array) => void } => ({ data: () => undefined });
  const [one, other] = [half(), half()];
  const end = (mine: { data: (bytes: Uint8Array) => void }, theirs: { data: (bytes: Uint8Array) => void }): End => ({
    send: (bytes) => {
      if (open) queueMicrotask(() => theirs.data(bytes));
    },
    onData: (listener) => {
      mine.data = listener;
    },
    onClose: (listener) => void closers.push(listener),
    close,
    open: () => open,
  });
  return [end(one, other), end(other, one)];
}

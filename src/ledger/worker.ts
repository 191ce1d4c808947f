// The ledger's thread: everything that may wait for the state disk happens here, one question after the other. It ends
// when it is asked to close, and only then: ending a thread inside SQLite would abort the whole process.

import { parentPort } from 'node:worker_threads';
import { FairleadError } from '../core/errors.js';
import { toFailure, type Answer, type Question, type Warning } from './messages.js';
import { openStore, type LedgerWarning } from './open.js';
import type { LedgerStore } from './store.js';

let store: LedgerStore | null = null;

function answer(question: Question): Answer {
  switch (question.kind) {
    case 'open': {
      const { directory, version, witness } = question;
      store = openStore({ directory, version, witness, date: () => new Date().toISOString(), warn });
      return { kind: 'opened' };
    }
    case 'load':
      return { kind: 'loaded', snapshot: opened().load() };
    case 'commit': {
      const failures = opened().applyGroup(question.commits);
      return { kind: 'committed', failures: failures.map((failure) => failure && toFailure(failure)) };
    }
    case 'look': {
      const { fault } = opened();
      return { kind: 'looked', fault: fault && toFailure(fault) };
    }
    case 'close':
      store?.close();
      return { kind: 'closed' };
  }
}

function warn(event: LedgerWarning, cause: Error | null): void {
  parentPort?.postMessage({ kind: 'warning', event, cause: cause?.message ?? null } satisfies Warning);
}

function opened(): LedgerStore {
  if (store === null) throw new FairleadError('internal', 'The ledger was asked before it was opened.');
  return store;
}

parentPort?.on('message', (question: Question) => {
  let reply: Answer;
  try {
    reply = answer(question);
  } catch (error) {
    reply = { kind: 'failed', failure: toFailure(error) };
  }
  parentPort?.postMessage(reply);
  // Nothing else keeps the thread alive.
  if (question.kind === 'close') parentPort?.close();
});

parentPort?.postMessage({ kind: 'ready' } satisfies Answer);

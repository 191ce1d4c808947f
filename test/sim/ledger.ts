// The ledger's files in the simulated world: a database in memory, and what its two marks say. Opened as
// src/ledger/open.ts does it, by the same functions; only the files are not there.

import type { LedgerSnapshot } from '../../src/core/records.js';
import { doubtOf, factsOf, takeOver, type LedgerFacts } from '../../src/ledger/doubt.js';
import type { MarkFacts } from '../../src/ledger/mark.js';
import { migrate } from '../../src/ledger/schema.js';
import { openDatabase, type Database } from '../../src/ledger/sqlite.js';
import { LedgerStore } from '../../src/ledger/store.js';

/** What the two marks say. */
export interface Marks {
  mark: MarkFacts | null;
  witness: MarkFacts | null;
}

/** What lies in state_dir (ledger and mark) and in run_dir (the witness). Null: it is not there. */
export interface Place extends Marks {
  database: Database | null;
}

const TABLES = ['ledger', 'mounts', 'attachments', 'holds', 'operations', 'set_aside'] as const;
const DATE = '2026-01-01T00:00:00.000Z';

/** Opens what lies there, or begins a ledger; `seen` is what is read of the marks. */
export function openPlace(place: Place, bootId: string, seen: Marks = place): LedgerStore {
  const { mark } = seen;
  const witness = seen.witness?.bootId === bootId ? seen.witness : null;
  const isGone = place.database === null && (mark !== null || (witness !== null && witness.sequence > 0));
  const database = (place.database ??= newDatabase());
  const doubt = isGone ? 'the file is gone' : doubtOf(whole(database), mark, witness);
  if (doubt !== null) takeOver(database, { key: 'simulated', reason: doubt, since: DATE });
  const marks = (['mark', 'witness'] as const).map((which) => {
    const facts = { ...whole(database), bootId, writtenBy: '0.1.0' };
    place[which] = facts;
    return {
      // A file that is deleted while it is open does not come back.
      note: (sequence: number) => (place[which] &&= { ...facts, sequence }),
      close: () => undefined,
    };
  });
  return new LedgerStore({ ...READ, database, origin: doubt === null ? 'existing' : 'damaged', marks });
}

/** What is recorded there. */
export function recordsIn({ database }: Pick<Place, 'database'>): LedgerSnapshot {
  return new LedgerStore({ ...READ, database: database ?? newDatabase() }).load();
}

/** A copy as a backup makes it. */
export function copyOf(database: Database): Database {
  const copy = newDatabase();
  copy.exec('DELETE FROM ledger');
  for (const table of TABLES) {
    const rows = database.prepare(`SELECT * FROM ${table}`).all() as readonly Record<string, string>[];
    const columns = Object.keys(rows[0] ?? {});
    if (columns.length === 0) continue;
    const values = columns.map((column) => `:${column}`);
    const insert = copy.prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES (${values.join(', ')})`);
    for (const row of rows) insert.run(row);
  }
  return copy;
}

const READ = { origin: 'existing', marks: [], home: null, reserve: null, date: () => DATE } as const;

function newDatabase(): Database {
  const database = openDatabase(':memory:');
  migrate(database);
  return database;
}

function whole(database: Database): LedgerFacts {
  const facts = factsOf(database);
  if (facts === null) throw new Error('a simulated ledger is never damaged');
  return facts;
}

// The program that looks for who keeps a mount busy. It runs in a process of its own, because reading about a process
// that is stuck on a dead server may get stuck too (/proc/PID/maps waits for that process's memory map lock). It tells
// what it finds as it finds it.

import type { Holder } from '../core/observation.js';
import { HolderSearch } from './holders-search.js';
import type { Sought } from './ports.js';

/** What is looked for. */
export interface HoldersRequest {
  readonly sought: Sought;
  readonly excludePids: readonly number[];
}
/** One finding, or the end: then it is known whether everything could be looked at. */
export type HoldersReply = { readonly holder: Holder } | { readonly complete: boolean };

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.once('message', ({ sought, excludePids }: HoldersRequest) => {
  const search = new HolderSearch(sought, excludePids, (holder) => tell({ holder }));
  void search.run().then((complete) => tell({ complete }));
});

function tell(reply: HoldersReply): void {
  process.send?.(reply);
}

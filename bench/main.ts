// The benchmark: one host, one stand-in cluster, one set of records, and everybody who is compared, in one run.
// `make bench` starts it in mount and process namespaces of its own. JSON goes to standard output, a table for people to
// standard error. BENCH_QUICK=1 makes it a matter of seconds, with figures that only prove that it works.

import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFaults } from '../sandbox/faults.js';
import { faultsFile, parseDir, volumeDir, type Layout } from '../sandbox/layout.js';
import { Client } from '../test/rig/client.js';
import { Host } from '../test/rig/host.js';
import { run } from '../test/rig/programs.js';
import { measure } from './cell.js';
import { machineFacts, versions } from './facts.js';
import { cellsOf, type Cell } from './plan.js';
import { InPython, OverHttp, type Subject } from './subjects.js';
import { tables, type Line } from './tables.js';

/** Where systemd says that it runs (sd_booted(3)). */
const SYSTEMD_RUNS = '/run/systemd/system';
/** Background volumes that are connected at the same time. */
const CONNECT_AT_ONCE = 16;
const REGISTRIES = 'reg1:7861,reg2:7861';

const lines: Line[] = [];

function say(line: Line): void {
  lines.push(line);
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Makes a volume with a disk in it, and answers its export. */
function makeVolume(layout: Layout, name: string, helperMs: number): string {
  mkdirSync(volumeDir(layout, name), { recursive: true });
  chmodSync(volumeDir(layout, name), 0o777);
  writeFileSync(join(volumeDir(layout, name), 'disk'), '');
  // Before anybody has asked for the volume: the cluster reads it then.
  if (helperMs > 0) writeFaults(faultsFile(layout, name), [{ kind: 'slow-mount', ms: helperMs }]);
  return `${REGISTRIES}/${name}`;
}

/** Volumes that are mounted all the time, by Fairlead, which has to know of each. */
class Background {
  readonly #client: Client;
  readonly #layout: Layout;
  #mounted = 0;

  constructor(host: Host, layout: Layout) {
    this.#client = new Client(host.socket);
    this.#layout = layout;
  }

  async grow(wanted: number): Promise<void> {
    while (this.#mounted < wanted) {
      const count = Math.min(CONNECT_AT_ONCE, wanted - this.#mounted);
      const urls = Array.from(
        { length: count },
        (_, i) => `quobyte://${makeVolume(this.#layout, `background-${this.#mounted + i}`, 0)}`,
      );
      const answers = await Promise.all(urls.map((url) => this.#client.connect(url, 'cli:background')));
      for (const { status, code } of answers) if (status !== 200) throw new Error(`background: ${code ?? status}`);
      this.#mounted += count;
    }
  }

  close(): void {
    this.#client.close();
  }
}

/** Nova's driver and Fairlead start helpers by systemd where it runs; here neither may, so neither may see it. */
async function hideSystemd(): Promise<void> {
  if (!existsSync(SYSTEMD_RUNS)) return;
  const { status, stderr } = await run('/bin/mount', ['-t', 'tmpfs', 'none', '/run/systemd']);
  if (status !== 0) throw new Error(`cannot hide systemd: ${stderr}`);
}

async function bench(host: Host, cells: readonly Cell[]): Promise<void> {
  const layout = parseDir(host.dir);
  const most = Math.max(...cells.map(({ concurrency }) => concurrency));
  const volumesOf = new Map(
    [...new Set(cells.map(({ helperMs }) => helperMs))].map((helperMs) => [
      helperMs,
      Array.from({ length: most }, (_, i) => makeVolume(layout, `helper-${helperMs}-${i}`, helperMs)),
    ]),
  );
  const subjects: readonly Subject[] = [
    await InPython.start('nova-own', host),
    await InPython.start('nova-fairlead', host),
    new OverHttp(host),
    await InPython.start('bare', host),
  ];
  const background = new Background(host, layout);
  for (const cell of cells) {
    await background.grow(cell.mounts);
    progress(`${cell.mounts} mounts, ${cell.concurrency} at once, the helper takes ${cell.helperMs} ms more`);
    const measured = await measure(cell, subjects, volumesOf.get(cell.helperMs) ?? []);
    for (const line of [...measured.figures(), ...measured.ratios()]) say(line);
  }
  background.close();
  for (const subject of subjects) subject.close();
}

const begun = performance.now();
const quick = (process.env['BENCH_QUICK'] ?? '') !== '';
say(machineFacts());
say(await versions());
await hideSystemd();
{
  await using host = await Host.boot();
  await bench(host, cellsOf(quick ? 'quick' : 'full'));
}
say({ name: 'run', extent: quick ? 'quick' : 'full', seconds: Math.round((performance.now() - begun) / 1000) });
progress(`\n${tables(lines)}`);

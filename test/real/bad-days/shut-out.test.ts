// Whoever may reach the agent's socket, allowed or not, keeps nobody else from it: not by connections, by what he sends or does not
// send, by requests that last, nor by answers that he does not read. Crowds are processes of other users (test/rig/crowd.py).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client, type HttpAnswer } from '../../rig/client.js';
import { amidCrowd, type Way } from '../../rig/crowd.js';
import { Host } from '../../rig/host.js';
import { STRANGER, type Identity } from '../../rig/identity.js';
import { descriptors, memory } from '../../rig/processes.js';
import { until } from '../../rig/until.js';

/** Two users whom the configuration lets in. */
const GUEST = { uid: 12_346, gid: 12_346 };
const OTHER = { uid: 12_347, gid: 12_347 };
const ROOT = { uid: 0, gid: 0 };
/** Milliseconds within which everybody is answered, on a busy machine too; what is wrong takes minutes, or for ever. */
const ANSWER_MS = 5000;
const QUESTIONS = 25;
/** Megabytes by which the agent may grow, whatever comes. */
const GROWTH_MB = 160;
/** Fewer than the smallest hard limit that is common. */
const DESCRIPTORS = 4096;

let host: Host;
let agent: number;
beforeEach(async () => {
  host = await Host.boot({ configure: (toml) => `allowed_uids = [${GUEST.uid}, ${OTHER.uid}]\n${toml}` });
  agent = host.pid('agent') ?? 0;
});
afterEach(async () => {
  await host.shutDown();
});

/** One answer on a connection of its own, as the command line gets it: a full queue at the socket is tried again. */
function answered(who: Identity, deadlineMs = ANSWER_MS): Promise<HttpAnswer> {
  return until(
    `user ${who.uid} is answered`,
    async () => {
      const client = new Client(host.socket, who);
      try {
        return await client.ask('GET', '/v1/mounts', undefined, AbortSignal.timeout(deadlineMs));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        return false;
      } finally {
        client.close();
      }
    },
    deadlineMs,
  );
}

/** Everybody's ways; of who is not allowed nothing is read, so that what he sends makes no difference. */
const WAYS: readonly (readonly [Way, number])[] = [
  ['idle', 2100],
  ['knock', 1],
  ['pipeline', 64],
  ['pipeline-unread', 64],
];
const MORE_WAYS: readonly (readonly [Way, number])[] = [
  ['header-without-end', 2100],
  ['body-without-end', 2100],
  ['unread', 2100],
  ['noise', 64],
];

describe.each([
  ['not allowed', STRANGER, WAYS],
  ['allowed', GUEST, [...WAYS, ...MORE_WAYS]],
] as const)('somebody who is %s', (_, who, ways) => {
  it.each(ways)('and comes in the way %s, %d times, keeps neither root nor another user out', async (way, count) => {
    const before = memory(agent);
    await amidCrowd(host.socket, who, [way, count], async () => {
      for (let n = 0; n < QUESTIONS; n++) {
        for (const asker of [ROOT, OTHER]) expect((await answered(asker)).status).toBe(200);
        expect(memory(agent) - before).toBeLessThan(GROWTH_MB);
        expect(descriptors(agent).length).toBeLessThan(DESCRIPTORS);
      }
      expect((await host.ask('ls')).status).toBe(0);
    });
    expect(host.pid('agent')).toBe(agent);
  });

  it('is answered again when he has stopped', async () => {
    await amidCrowd(host.socket, who, ['knock', 1], async () => {
      await until('the kernel keeps him out', () =>
        answered(who).then(
          () => false,
          (error: unknown) => (error as NodeJS.ErrnoException).code === 'EACCES',
        ),
      );
      expect((await answered(OTHER)).status).toBe(200);
    });
    const { status } = await until(
      'he is let in again',
      () =>
        answered(who).catch((error: unknown) => {
          if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
          return false as const;
        }),
      60_000,
    );
    expect(status).toBe(who === STRANGER ? 403 : 200);
  });
});

it('requests of one user that last leave places for root and for another user', async () => {
  const url = await host.volume('slow');
  const theirs = await host.volume('theirs');
  await host.sandbox('fault', 'slow', 'slow-mount', '20000');
  const guest = new Client(host.socket, GUEST);
  let refused = 0;
  const begun = Array.from({ length: 400 }, (_, n) =>
    guest.connect(url, `cli:guest-${n}`).then(
      ({ status }) => (refused += status === 429 ? 1 : 0),
      () => 0,
    ),
  );
  await until('he asks for more than he may', () => refused > 0);
  for (const asker of [ROOT, OTHER]) {
    const client = new Client(host.socket, asker);
    expect((await client.connect(theirs, `cli:user-${asker.uid}`)).status).toBe(200);
    client.close();
  }
  guest.close();
  await Promise.all(begun);
});

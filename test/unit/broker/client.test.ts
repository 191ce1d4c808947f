import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { BrokerClient } from '../../../src/broker/client.js';
import { PROTOCOL_VERSION } from '../../../src/broker/protocol.js';
import { encodeFrame, FrameDecoder } from '../../../src/core/frames.js';
import { MAX_LINK_REQUESTS } from '../../../src/core/limits.js';
import { systemClock } from '../../../src/sys/clock.js';
import { type End, pipe } from './pipe.js';

const VOLUME = parseVolume('quobyte://192.168.1.1/volume-00001');
type Request = Record<string, unknown> & { readonly id: number; readonly verb: string };

/** A broker's end that does what a test says; hello is answered unless the test wants otherwise. */
class Script {
  readonly requests: Request[] = [];
  readonly ends: End[] = [];
  version = PROTOCOL_VERSION;
  listens = true;
  onRequest: (request: Request, end: End) => void = () => undefined;

  dial = (): Promise<End> => {
    if (!this.listens) return Promise.reject(new Error('nobody listens'));
    const [mine, theirs] = pipe();
    const decoder = new FrameDecoder();
    this.ends.push(theirs);
    theirs.onData((bytes) => {
      for (const request of decoder.push(bytes).values as Request[]) {
        if (request.verb === 'hello') {
          theirs.send(encodeFrame({ id: request.id, ok: { version: this.version, bootId: 'b' } }));
        } else {
          this.requests.push(request);
          this.onRequest(request, theirs);
        }
      }
    });
    return Promise.resolve(mine);
  };
}

async function withClient(
  use: (script: Script, client: BrokerClient) => Promise<void>,
  script = new Script(),
): Promise<void> {
  const client = new BrokerClient({ clock: systemClock, dial: script.dial });
  try {
    await use(script, client);
  } finally {
    client.close();
  }
}

describe('a step', () => {
  it('whose reply comes is what the broker says', () =>
    withClient(async (script, client) => {
      script.onRequest = ({ id }, end) => end.send(encodeFrame({ id, ok: { end: 'done', changed: true } }));
      expect(await client.step(VOLUME, 'mount', 1000)).toEqual({ end: 'done', changed: true });
      expect(script.requests[0]).toMatchObject({ verb: 'step', kind: 'mount', volume: VOLUME.url });
      expect(script.requests[0]).not.toHaveProperty('leaf');
    }));

  it('whose connection dies is unknown', () =>
    withClient(async (script, client) => {
      script.onRequest = (_, end) => end.close();
      expect(await client.step(VOLUME, 'mount', 1000)).toMatchObject({
        end: 'unknown',
        error: { code: 'unavailable' },
      });
    }));

  it('whose reply is late is unknown, soon after its budget', () =>
    withClient(async (_, client) => {
      const began = performance.now();
      const end = await client.step(VOLUME, 'unmount', 100);
      expect(end).toMatchObject({ end: 'unknown', error: { code: 'deadline-exceeded' } });
      expect(performance.now() - began).toBeLessThan(700);
    }));

  it('that never left is refused', async () => {
    const script = new Script();
    script.listens = false;
    await withClient(async (_, client) => {
      expect(await client.step(VOLUME, 'mount', 50)).toMatchObject({ end: 'refused', error: { code: 'unavailable' } });
      expect(await client.step(VOLUME, 'mount', 0)).toMatchObject({ end: 'refused' });
    }, script);
  });

  it('that the broker does not understand itself is unknown, one that it refuses is refused', () =>
    withClient(async (script, client) => {
      const answer = (code: string): void => {
        script.onRequest = ({ id }, end) =>
          end.send(encodeFrame({ id, error: { code, message: 'm', retryable: false } }));
      };
      answer('internal');
      expect(await client.step(VOLUME, 'mount', 1000)).toMatchObject({ end: 'unknown' });
      answer('permission-denied');
      expect(await client.step(VOLUME, 'mount', 1000)).toMatchObject({ end: 'refused' });
    }));
});

describe('a reading', () => {
  it('is rejected with unavailable when the connection dies, and deadline-exceeded when it is late', () =>
    withClient(async (script, client) => {
      script.onRequest = (_, end) => end.close();
      await expect(client.holders(VOLUME, 1000)).rejects.toMatchObject({ code: 'unavailable' });
      script.onRequest = () => undefined;
      await expect(client.settle(VOLUME, 50)).rejects.toMatchObject({ code: 'deadline-exceeded' });
    }));

  it('of an inventory is put together from its parts', () =>
    withClient(async (script, client) => {
      const item = {
        leaf: 'c94ed34ada0acf45c1213beb1fc52ce6',
        mountpoint: '/srv/base/c94ed34ada0acf45c1213beb1fc52ce6',
        directory: 'empty',
        mounts: [],
        mayHideOurs: false,
        unit: 'idle',
        former: [{ state: 'ending' }],
        backend: 'quobyte',
      };
      script.onRequest = ({ id }, end) => {
        end.send(encodeFrame({ id, part: { items: [item] } }));
        end.send(encodeFrame({ id, part: { items: [item] } }));
        end.send(encodeFrame({ id, ok: { bootId: 'b' } }));
      };
      expect(await client.inventory('all', 1000)).toEqual({ bootId: 'b', items: [item, item] });
    }));
});

describe('a broker that speaks otherwise loses its connection', () => {
  const replies: [string, (id: number) => object][] = [
    ['a member too many', (id) => ({ id, ok: { end: 'done', changed: true }, more: 1 })],
    ['a reply to nobody', (id) => ({ id: id + 1000, ok: 1 })],
    ['an unknown code', (id) => ({ id, error: { code: 'oops', message: '', retryable: false } })],
    ['neither result nor error', (id) => ({ id })],
  ];
  it.each(replies)('%s', async (_, reply) => {
    await withClient(async (script, client) => {
      script.onRequest = ({ id }, end) => {
        end.send(encodeFrame(reply(id)));
      };
      expect(await client.step(VOLUME, 'mount', 1000)).toMatchObject({ end: 'unknown' });
      expect(script.ends[0]?.open()).toBe(false);
    });
  });

  it.each<[string, (id: number) => object[]]>([
    ['a result outside the schema', (id) => [{ id, ok: { end: 'done' } }]],
    [
      'parts where none belong',
      (id) => [
        { id, part: { items: [] } },
        { id, ok: { end: 'done', changed: true } },
      ],
    ],
  ])('%s is lost, and only for who has asked', async (_, replies) => {
    await withClient(async (script, client) => {
      let odd = true;
      script.onRequest = ({ id }, end) => {
        const answer = odd ? replies(id) : [{ id, ok: { end: 'done', changed: true } }];
        for (const one of answer) end.send(encodeFrame(one));
        odd = false;
      };
      expect(await client.step(VOLUME, 'mount', 1000)).toMatchObject({ end: 'unknown' });
      expect(await client.step(VOLUME, 'mount', 1000)).toMatchObject({ end: 'done' });
      expect(script.ends[0]?.open()).toBe(true);
    });
  });

  it('another version is no broker', async () => {
    const script = new Script();
    script.version = PROTOCOL_VERSION + 1;
    await withClient(async (_, client) => {
      expect(await client.step(VOLUME, 'mount', 100)).toMatchObject({ end: 'refused' });
      expect(client.connected).toBe(false);
    }, script);
  });
});

describe('the connection', () => {
  it('is made again, and whoever listens is told each time', () =>
    withClient(async (script, client) => {
      let times = 0;
      const forget = client.onConnect(() => {
        times += 1;
      });
      await expect.poll(() => times).toBe(1);
      script.ends.at(-1)?.close();
      await expect.poll(() => times).toBe(2);
      expect(client.connected).toBe(true);
      forget();
      script.ends.at(-1)?.close();
      await expect.poll(() => script.ends.length).toBe(3);
      expect(times).toBe(2);
    }));

  it('is waited for by a request that comes while there is none', async () => {
    const script = new Script();
    script.listens = false;
    script.onRequest = ({ id }, end) => end.send(encodeFrame({ id, ok: 'settled' }));
    await withClient(async (_, client) => {
      const asked = client.settle(VOLUME, 1500);
      setTimeout(() => (script.listens = true), 50);
      expect(await asked).toBe('settled');
    }, script);
  });

  it('carries no more requests than may be in flight, late ones counted', () =>
    withClient(async (script, client) => {
      await expect.poll(() => client.connected).toBe(true);
      const given = Array.from({ length: MAX_LINK_REQUESTS }, () => client.step(VOLUME, 'harden', 500));
      for (const end of await Promise.all(given)) expect(end.end).toBe('unknown');
      const more = await client.step(VOLUME, 'harden', 1000);
      expect(more).toMatchObject({ end: 'refused', error: { code: 'resource-exhausted' } });
      expect(script.requests).toHaveLength(MAX_LINK_REQUESTS);
    }));
});

// R15: connect needs write and search permission of the user that will use the volume, and says which one is missing. All
// eight modes of an owner, on a real directory, tested as that user and not as root.

import { chmodSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../rig/host.js';

const USER = 54_321;

let host: Host;
beforeAll(async () => {
  host = await Host.boot({ configure: (toml) => `${toml}access_uid = ${USER}\naccess_gid = ${USER}\n` });
});
afterAll(() => host.shutDown());

const MODES = Array.from({ length: 8 }, (_, bits) => bits);
const asked = (...args: string[]) => host.ask(...args, '--consumer', 'cli:alice');

describe('the user of the volume, with', () => {
  it.each(MODES)('mode 0%i00, may connect only with write and search', async (bits) => {
    const url = host.localVolume(`mode-${bits}`);
    const path = join(host.localRoot, `mode-${bits}`);
    chownSync(path, USER, USER);
    chmodSync(path, bits << 6);
    const missing = [...((bits & 1) === 0 ? ['search'] : []), ...((bits & 2) === 0 ? ['write'] : [])];
    const { status, error } = await asked('connect', url);
    if (missing.length === 0) {
      expect(status).toBe(0);
      await asked('disconnect', url);
      return;
    }
    expect([status, error?.code]).toEqual([8, 'unhealthy']);
    expect(error?.message).toContain(`lacks ${missing.join(' and ')} permission`);
    expect(host.mounts()).toEqual([]);
  });

  it.each(MODES)('mode 0%i00, may connect read-only with search alone', async (bits) => {
    const url = host.localVolume(`ro-${bits}`);
    const path = join(host.localRoot, `ro-${bits}`);
    chownSync(path, USER, USER);
    chmodSync(path, bits << 6);
    const { status } = await asked('connect', url, '--read-only');
    expect(status).toBe((bits & 1) === 1 ? 0 : 8);
    if (status === 0) await asked('disconnect', url);
    expect(host.mounts()).toEqual([]);
  });
});

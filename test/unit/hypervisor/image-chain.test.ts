import { describe, expect, it } from 'vitest';
import { placeNamed } from '../../../src/hypervisor/image-chain.js';

const HERE = { directory: '/mnt/q/leaf', path: 'disk' };

describe('a name in a header', () => {
  it.each([
    ['base', { directory: '/mnt/q/leaf', path: 'base' }],
    ['/mnt/q/leaf/base', { directory: '/mnt/q/leaf', path: 'base' }],
    ['/srv/images/debian.raw', { directory: '/srv/images', path: 'debian.raw' }],
    ['/srv/images/sub/debian.raw', { directory: '/srv/images', path: 'sub/debian.raw' }],
  ])('%s leads to where it says', (name, place) => {
    expect(placeNamed(name, HERE, ['/srv/images'])).toEqual(place);
  });

  it.each([
    ['', '.', '..', '../base', './base', 'dir/base', 'base/', '-base'],
    ['/etc/shadow', '/srv/images', '/srv/imagesx/a', '/srv/images/../etc/shadow', '/srv/images//a', '//srv/images/a'],
    ['/mnt/q/leaf/../other/disk', '/mnt/q/leaf/sub/disk', '/mnt/q/leaf', '/mnt/q/other/disk'],
    ['nbd:localhost:10809', 'json:{"driver":"raw"}', 'file:base', 'http://host/a', 'fat:rw:/etc', 'a:b', 'ba\nse'],
  ])('%s and its like lead nowhere', (...names) => {
    for (const name of names) expect([name, placeNamed(name, HERE, ['/srv/images'])]).toEqual([name, null]);
  });

  it('in an outside image leads beside that image', () => {
    const outside = { directory: '/srv/images', path: 'sub/debian.qcow2' };
    expect(placeNamed('base', outside, ['/srv/images'])).toEqual({ directory: '/srv/images', path: 'sub/base' });
    expect(placeNamed('/mnt/q/leaf/base', outside, ['/srv/images'])).toBeNull();
  });
});

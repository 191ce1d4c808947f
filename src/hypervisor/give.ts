// What libvirt leaves to root is given to the image user. libvirt gives a disk's file to QEMU's user while a guest has it and back to
// whoever had it before; where the filesystem keeps no note of that (no trusted extended attributes: most network ones), to root
// (docs/decisions/0016). Then nobody could look at the image or grow it but as root, which nothing here does.

import type { DiskPlace } from './place.js';
import type { Call } from './handlers/handler.js';

/**
 * Makes the image user the owner of a disk's file, if that is a regular one of root:root with one name and no set-id bits: looked at
 * and changed by handle, in a child of its own.
 */
export async function giveToImageUser({ context, deadline }: Call, place: DiskPlace): Promise<void> {
  const { leaf } = place.volume;
  await context.images.with(leaf, deadline, 'root', (hands) => hands.give(place.image));
  context.log.info('image-given', { leaf, uid: context.settings.libvirt.imageUser.uid });
}

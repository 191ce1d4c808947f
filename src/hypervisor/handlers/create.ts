// `create`: an image where there is none. Whatever lies under the name already is left alone, and is not opened.

import { parseDiskFormat } from '../../core/disk.js';
import { checkDiskBytes } from '../disk-bytes.js';
import { placeOf, requireUsable } from '../place.js';
import { alone, type Handler } from './handler.js';

/** See the file's head. */
export const create: Handler<'create'> = async (call, request) => {
  const { context, deadline } = call;
  const place = placeOf(context, request);
  const format = parseDiskFormat(request.format, 'format');
  const bytes = checkDiskBytes(request.bytes, 'bytes');
  requireUsable(context, place);
  return await alone(call, place.path, async () => {
    const created = await context.images.with(place.volume.leaf, deadline, 'image-user', (hands) =>
      hands.create(place.image, format, bytes),
    );
    context.log.info('image-create', { leaf: place.volume.leaf, format, bytes, created });
    return { created };
  });
};

// `examine`: what is wrong with libvirt, qemu-img and the image user, for an operator. Looks, and changes nothing.

import type { Finding } from '../../core/broker-api.js';
import { FairleadError } from '../../core/errors.js';
import type { Call, Handler } from './handler.js';

/** See the file's head. */
export const examine: Handler<'examine'> = async (call) => {
  const { settings, hasLibvirt } = call.context;
  if (settings.libvirt.enabled === 'auto' && !hasLibvirt()) return [];
  return [...(await libvirtFindings(call)), ...imageFindings(call)];
};

async function libvirtFindings({ context, deadline }: Call): Promise<readonly Finding[]> {
  const finding = (severity: Finding['severity'], message: string, mend: string): Finding => ({
    subject: 'libvirt',
    severity,
    message,
    mend,
  });
  try {
    const { complete } = await context.libvirt.survey(Math.max(1, deadline.remaining * 0.8));
    if (complete) return [];
    return [
      finding(
        'warning',
        'Not every domain can be read, so no hold is lifted and no orphan is told.',
        'virsh list --all',
      ),
    ];
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    // One that hangs is not helped by a start.
    const mend = 'systemctl restart libvirtd (or virtqemud; guests go on running); or [libvirt] enabled = "no"';
    return [finding('error', error.message, mend)];
  }
}

function imageFindings({ context }: Call): readonly Finding[] {
  const trust = context.trustQemuImg();
  if (trust.trusted) return [];
  const message = `Images cannot be made, nor grown while no domain has them: ${trust.detail}`;
  const mend =
    trust.why === 'missing'
      ? 'Install qemu-img (Debian: qemu-utils; others: qemu-img), or set libvirt.qemu_img.'
      : 'Mend what the message says, or set libvirt.qemu_img.';
  return [{ subject: 'qemu-img', severity: trust.why === 'missing' ? 'warning' : 'error', message, mend }];
}

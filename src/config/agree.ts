// What several settings must agree on, and the forms that have a parser of their own. Pure.

import { parseRegistry } from '../backends/registries.js';
import { checkDriverPair } from '../core/disk.js';
import { FairleadError } from '../core/errors.js';
import { isBelow } from '../core/paths.js';
import type { Settings } from './settings.js';

/** What several settings must agree on. */
export function checkTogether(settings: Settings, at: (setting: string, message: string) => void): void {
  const bases = Object.entries(settings.backend).map(([name, { mount_base }]) => [name, mount_base] as const);
  for (const [name, base] of bases) {
    const setting = `backend.${name}.mount_base`;
    for (const [other, otherBase] of bases) {
      if (name !== other && (base === otherBase || isBelow(base, otherBase))) {
        at(setting, `must not be, or lie in, the mount base of backend.${other}; give each a directory of its own`);
      }
    }
    for (const [key, directory] of [
      ['state_dir', settings.state_dir],
      ['run_dir', settings.run_dir],
    ] as const) {
      if (base === directory || isBelow(directory, base)) at(key, `must not be, or lie in, the mount base ${setting}`);
    }
  }
  if (settings.state_dir === settings.run_dir) at('run_dir', 'must not be the same directory as state_dir');
  const { mount_helper, unmount_helper, registries } = settings.backend.quobyte;
  for (const [key, program] of [
    ['mount_helper', mount_helper],
    ['unmount_helper', unmount_helper],
  ] as const) {
    const trusted = settings.trusted_helper_dirs.some((directory) => isBelow(program, directory));
    if (program !== '' && !trusted) {
      at(
        `backend.quobyte.${key}`,
        'lies in none of trusted_helper_dirs; install it there, or add its directory to them',
      );
    }
  }
  for (const registry of registries) {
    const fault = faultOf(() => parseRegistry(registry, 'backend.quobyte.registries'));
    if (fault !== null) at('backend.quobyte.registries', fault);
  }
  for (const [name, backend] of Object.entries(settings.backend)) {
    const fault = faultOf(() => checkDriverPair(backend.driver_cache, backend.driver_io, `backend.${name}`));
    if (fault !== null) at(`backend.${name}.driver_io`, fault);
  }
}

/** The message of a refusal, without the name of the field that stands before it anyway. */
function faultOf(check: () => unknown): string | null {
  try {
    check();
    return null;
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return error.message.replace(`${error.field ?? ''} `, '').replace(/\.$/, '');
  }
}

// Everything that can be asked over HTTP: the tables of the doors that answer there, one after the other.

import { VOLUME_ROUTES } from './http/routes.js';
import { VM_ROUTES } from './libvirt/routes.js';
import { NOVA_ROUTES } from './nova/routes.js';
import type { Route } from './route.js';

/** All routes. */
export const ROUTES: readonly Route[] = [...VOLUME_ROUTES, ...NOVA_ROUTES, ...VM_ROUTES];

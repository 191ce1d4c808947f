// A real libvirtd with a real virtlogd for tests, children of the test and in the mount namespace that the test run was started in:
// its run, state, log and configuration directories are memory file systems there, so that nothing of the host's is seen or touched, and a
// killed test run leaves nothing behind. Domains are QEMU's (`qemu:///system`, emulated, small); one without a disk sits in its BIOS.

import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alive } from './host.js';
import { launch, ROOT, run, type Run, type Running } from './programs.js';
import { until } from './until.js';

/** Where libvirtd listens: where Fairlead looks for it by itself. */
export const LIBVIRT_SOCKET = '/run/libvirt/libvirt-sock';

/** Directories of libvirt that become empty for the test. */
const PRIVATE = ['/run/libvirt', '/var/lib/libvirt', '/var/log/libvirt', '/etc/libvirt'];
/** What libvirtd learnt of QEMU's abilities, kept between test runs: to learn it takes seconds. */
const CACHE = '/var/cache/libvirt';
/** Where libvirtd keeps the process numbers of its guests. */
const GUESTS = '/run/libvirt/qemu';
const READY_MS = 60_000;
const END_MS = 20_000;
/** How long a daemon may take to end by itself. */
const PATIENCE_MS = 10_000;

const FILES: Readonly<Record<string, string>> = {
  'libvirtd.conf': [
    'unix_sock_rw_perms = "0770"',
    'auth_unix_ro = "none"',
    'auth_unix_rw = "none"',
    'admin_max_clients = 5',
    'log_level = 3',
    'log_outputs = "3:stderr"',
  ].join('\n'),
  'virtlogd.conf': 'log_level = 3\nlog_outputs = "3:stderr"\n',
  'qemu.conf': [
    // No cgroups: a container may not have them to give.
    'cgroup_controllers = []',
    'security_driver = "none"',
    'stdio_handler = "logd"',
    'user = "libvirt-qemu"',
    'group = "kvm"',
  ].join('\n'),
};

/** Why there can be no libvirtd of a test's own on this host; null if there can. */
export function lacksLibvirt(): string | null {
  const programs = [
    '/usr/sbin/libvirtd',
    '/usr/sbin/virtlogd',
    '/usr/bin/virsh',
    '/usr/bin/qemu-system-x86_64',
    '/usr/bin/python3',
  ];
  const missing = programs.filter((program) => !existsSync(program));
  return missing.length === 0
    ? null
    : `there is no ${missing.join(', ')}; apt-get install libvirt-daemon-system libvirt-clients qemu-system-x86`;
}

/** What a domain is made of. */
export interface DomainOptions {
  readonly name: string;
  readonly uuid?: string;
  /** Mebibytes. */
  readonly memory?: number;
  /** XML of its devices, beyond a PCIe machine with free slots for hot-plugging. */
  readonly devices?: string;
  /** XML inside `<os>` after the type: `<kernel>…</kernel>`. */
  readonly os?: string;
  /** XML beside `<devices>`. */
  readonly more?: string;
}

/** The XML of a small domain. With a SCSI controller and eight free PCIe ports, so that disks can be hot-plugged. */
export function domainXml({ name, uuid, memory = 32, devices = '', os = '', more = '' }: DomainOptions): string {
  const ports = Array.from({ length: 8 }, () => "<controller type='pci' model='pcie-root-port'/>").join('');
  return `<domain type='qemu'><name>${name}</name>${uuid === undefined ? '' : `<uuid>${uuid}</uuid>`}
    <memory unit='MiB'>${memory}</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type>${os}</os><features><acpi/></features>${more}
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
      <controller type='usb' model='none'/><controller type='scsi' model='virtio-scsi'/>
      <controller type='pci' model='pcie-root'/>${ports}
      <memballoon model='none'/>${devices}</devices></domain>`;
}

/** libvirtd and virtlogd. Make them with {@link Libvirtd.start}; dispose of them with `await using` or {@link Libvirtd.shutDown}. */
export class Libvirtd {
  #virtlogd: Daemon | null = null;
  #libvirtd: Daemon | null = null;
  readonly #mounted: string[] = [];

  private constructor() {
    // Only start() makes one.
  }

  /**
   * Starts both and waits until libvirtd answers. Only inside a mount namespace of the test's own.
   *
   * @param guests `shared`: they see the mounts of this namespace, whatever is mounted when and how. `apart`: each has a mount namespace, as
   *   on a real host, and sees what is mounted later only where mounts are shared.
   */
  static async start(guests: 'shared' | 'apart' = 'shared'): Promise<Libvirtd> {
    const libvirtd = new Libvirtd();
    try {
      await libvirtd.#prepare(guests);
      await libvirtd.up();
    } catch (error) {
      await libvirtd.shutDown();
      throw error;
    }
    return libvirtd;
  }

  /** The process of libvirtd. */
  get pid(): number {
    if (this.#libvirtd === null) throw new Error('libvirtd does not run');
    return this.#libvirtd.pid;
  }

  /** What libvirtd and virtlogd have printed so far. */
  log(): string {
    return [this.#virtlogd, this.#libvirtd].map((daemon) => daemon?.running.output() ?? '').join('');
  }

  /** Starts whichever of both does not run, and waits until libvirtd answers. */
  async up(): Promise<void> {
    if (!runs(this.#virtlogd)) this.#virtlogd = await begin('virtlogd');
    if (!runs(this.#libvirtd)) this.#libvirtd = await begin('libvirtd');
    await until(
      'libvirtd answers',
      async () => {
        if (!runs(this.#virtlogd) || !runs(this.#libvirtd)) throw new Error(`it ended: ${this.log()}`);
        return (await run('/usr/bin/virsh', ['-c', 'qemu:///system', 'uri'])).status === 0;
      },
      READY_MS,
    );
  }

  /** Ends libvirtd; its guests stay. */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await end(this.#libvirtd, signal);
    this.#libvirtd = null;
  }

  /** Runs virsh as an operator does; fails if it fails. */
  async virsh(...args: readonly string[]): Promise<string> {
    const done = await this.tryVirsh(...args);
    if (done.status !== 0) throw new Error(`virsh ${args.join(' ')} failed: ${done.stderr}\n${this.log()}`);
    return done.stdout;
  }

  /** Runs virsh as an operator does. */
  tryVirsh(...args: readonly string[]): Promise<Run> {
    return run('/usr/bin/virsh', ['-c', 'qemu:///system', ...args]);
  }

  /** Defines a domain, and answers its UUID. */
  async define(options: DomainOptions): Promise<string> {
    const file = join('/run/libvirt', `${options.name}.xml`);
    writeFileSync(file, domainXml(options));
    await this.virsh('define', file);
    rmSync(file);
    return (await this.virsh('domuuid', options.name)).trim();
  }

  /** Defines a domain and starts it. */
  async boot(options: DomainOptions): Promise<string> {
    const uuid = await this.define(options);
    await this.virsh('start', options.name);
    return uuid;
  }

  /** The processes of all guests: QEMU's. */
  guests(): readonly number[] {
    if (!existsSync(GUESTS)) return [];
    return readdirSync(GUESTS)
      .filter((name) => name.endsWith('.pid') && name !== 'driver.pid')
      .map((name) => Number.parseInt(readFileSync(join(GUESTS, name), 'utf8'), 10));
  }

  /** Ends guests, libvirtd and virtlogd, and takes the directories away. */
  async shutDown(): Promise<void> {
    const guests = this.guests();
    await this.down();
    for (const pid of guests) if (alive(pid)) process.kill(pid, 'SIGKILL');
    await until('the guests are gone', () => guests.every((pid) => !alive(pid)), END_MS);
    await end(this.#virtlogd, 'SIGTERM');
    this.#virtlogd = null;
    for (const directory of this.#mounted.reverse()) await run('/bin/umount', ['-l', directory]);
    this.#mounted.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutDown();
  }

  async #prepare(guests: 'shared' | 'apart'): Promise<void> {
    if (/^(?:systemd|init)$/.test(readFileSync('/proc/1/comm', 'utf8').trim())) {
      throw new Error("this hides the host's own libvirt: run it in namespaces of its own (scripts/isolated.mjs)");
    }
    for (const directory of PRIVATE) mkdirSync(directory, { recursive: true });
    for (const directory of PRIVATE) await this.#mount(['-t', 'tmpfs', '-o', 'mode=0755', 'libvirt', directory]);
    const cache = join(ROOT, '.cache/libvirt');
    for (const directory of [cache, CACHE]) mkdirSync(directory, { recursive: true, mode: 0o711 });
    await this.#mount(['--bind', cache, CACHE]);
    mkdirSync('/etc/libvirt/qemu/networks', { recursive: true });
    for (const [name, content] of Object.entries(FILES)) writeFileSync(join('/etc/libvirt', name), `${content}\n`);
    if (guests === 'shared') appendFileSync('/etc/libvirt/qemu.conf', 'namespaces = []\n');
  }

  async #mount(args: readonly string[]): Promise<void> {
    const directory = args[args.length - 1] ?? '';
    const done = await run('/bin/mount', args);
    if (done.status !== 0) throw new Error(`mount ${args.join(' ')} failed: ${done.stderr}`);
    this.#mounted.push(directory);
  }
}

/** A daemon, and the process that reaps what it leaves behind. */
interface Daemon {
  readonly pid: number;
  readonly running: Running;
}

async function begin(name: 'virtlogd' | 'libvirtd'): Promise<Daemon> {
  const words = [
    `/usr/sbin/${name}`,
    '--config',
    `/etc/libvirt/${name}.conf`,
    '--pid-file',
    `/run/libvirt/${name}.pid`,
  ];
  const running = launch('/usr/bin/python3', [join(ROOT, 'test/rig/reap.py'), ...words]);
  const pid = await until(`${name} has begun`, () => /^(\d+)\n/.exec(running.output())?.[1], READY_MS);
  return { pid: Number(pid), running };
}

function runs(daemon: Daemon | null): boolean {
  return daemon !== null && alive(daemon.pid);
}

/** Ends one daemon of ours, and waits for it. */
async function end(daemon: Daemon | null, signal: NodeJS.Signals): Promise<void> {
  if (daemon === null || !runs(daemon)) return;
  // First, since nothing can be said to a daemon that has ended.
  if (signal !== 'SIGKILL') process.kill(daemon.pid, 'SIGCONT');
  process.kill(daemon.pid, signal);
  const kill = setTimeout(() => {
    if (runs(daemon)) process.kill(daemon.pid, 'SIGKILL');
  }, PATIENCE_MS);
  await until('a daemon has ended', () => !runs(daemon), END_MS);
  clearTimeout(kill);
}

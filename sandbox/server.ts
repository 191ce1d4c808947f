// The serving thread: one epoll over the kernel's requests of all mounts, the socket of helpers and of the command line,
// and the wake-up of the main thread. It blocks in epoll_wait and has no event loop of Node's; all calls are synchronous.
import { randomBytes } from 'node:crypto';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Fault, find, readFaults } from './faults.js';
import { EPOLLIN, Epoll, close, umask, write } from './fuse/libc.js';
import { Mounted } from './fuse/mounted.js';
import { accept, listen, receive } from './fuse/sockets.js';
import { type Layout, faultsFile, volumeDir } from './layout.js';
import { type Serving, compose } from './program.js';

/** What a serving thread is started with. Without `inherited` it is the cluster; with it, one mount's own server. */
export interface ServerOptions {
  layout: Layout;
  /** Node and the script that the helper starts as an own server. */
  command: readonly string[];
  /** An eventfd: readable means stop. */
  stop: number;
  inherited?: { fd: number; volume: string; xattrs: 'offered' | 'disabled' };
}

const EAGAIN = 11;
/** Bytes of an unfinished line that a client may leave us with. */
const LONGEST_LINE = 65_536;

/** One connection of a helper or of the command line. */
interface Client {
  fd: number;
  text: string;
  /** The descriptor of /dev/fuse that the helper sent. */
  fuse: number | undefined;
  serving: Serving | undefined;
}

export class Server {
  readonly #options: ServerOptions;
  readonly #socket: string;
  readonly #epoll = new Epoll();
  readonly #watched = new Map<number, (broken: boolean) => void>();
  readonly #mounts = new Map<Mounted, Client | undefined>();
  readonly #faults = new Map<string, Fault[]>();
  /** The mount of an own server, also when it is gone. */
  readonly #own: Mounted | undefined;
  #stopped = false;
  /** Told to end at once. */
  #hurried = false;

  constructor(options: ServerOptions) {
    const { layout, inherited, stop } = options;
    this.#options = options;
    umask(0); // modes are the kernel's business: it has applied the caller's umask already
    this.#socket =
      inherited === undefined ? layout.socket : join(layout.servers, `${randomBytes(8).toString('hex')}.sock`);
    const listening = listen(this.#socket);
    this.#watch(listening, () => this.#accept(listening));
    this.#watch(stop, () => {
      this.#stopped = true;
      this.#forget(stop); // it stays readable
    });
    if (inherited !== undefined) {
      this.#own = this.#serve(inherited.fd, inherited.volume, inherited.xattrs, undefined);
    }
  }

  /** Serves until it is told to stop; an own server also ends with its mount. */
  run(): void {
    while (!this.#stopped && (this.#options.inherited === undefined || this.#mounts.size > 0)) this.#turn(-1);
    for (const mounted of this.#mounts.keys()) mounted[Symbol.dispose]();
    if (this.#own !== undefined) this.#end(this.#own);
    rmSync(this.#socket, { force: true });
  }

  /** The end of an own server, its mount gone: it takes its time, whatever signals say, and then stores what was written. */
  #end(own: Mounted): void {
    const since = performance.now();
    const left = (): number => since + (find(this.#faultsOf(own.volume), 'slow-end')?.ms ?? 0) - performance.now();
    while (!this.#hurried && left() > 0) this.#turn(Math.ceil(left()));
    own.written.store();
  }

  #turn(ms: number): void {
    for (const { fd, broken } of this.#epoll.wait(ms)) this.#watched.get(fd)?.(broken);
  }

  #watch(fd: number, on: (broken: boolean) => void, interest = EPOLLIN): void {
    this.#epoll.add(fd, interest);
    this.#watched.set(fd, on);
  }

  #forget(fd: number): void {
    this.#epoll.remove(fd);
    this.#watched.delete(fd);
  }

  #accept(listening: number): void {
    for (let fd = accept(listening); fd >= 0; fd = accept(listening)) {
      const client: Client = { fd, text: '', fuse: undefined, serving: undefined };
      this.#watch(fd, () => this.#hear(client));
    }
  }

  #hear(client: Client): void {
    const { bytes, text, passed } = receive(client.fd);
    if (bytes === -EAGAIN) return;
    if (passed !== undefined) {
      if (client.fuse !== undefined) close(client.fuse);
      client.fuse = passed;
    }
    client.text += text;
    if (bytes <= 0 || client.text.length > LONGEST_LINE) {
      this.#hangUp(client);
      return;
    }
    const lines = client.text.split('\n');
    client.text = lines.pop() ?? '';
    for (const line of lines) this.#say(client, this.#command(client, line.split('\0')));
  }

  #say(client: Client, text: string): void {
    const bytes = Buffer.from(text);
    write(client.fd, bytes, bytes.length);
  }

  #hangUp(client: Client): void {
    if (!this.#watched.has(client.fd)) return;
    this.#forget(client.fd);
    close(client.fd);
    if (client.fuse !== undefined) close(client.fuse); // a helper that went away without having mounted
    for (const [mounted, of] of this.#mounts) if (of === client) this.#mounts.set(mounted, undefined);
  }

  #command(client: Client, [verb = '', ...args]: string[]): string {
    switch (verb) {
      case 'mount':
        return this.#compose(client, args);
      case 'mounted':
        return this.#adopt(client);
      case 'reload':
        return this.#reload(args[0] ?? '');
      case 'kill':
        return this.#kill(args[0] ?? '');
      case 'stop':
        this.#stopped = this.#hurried = true;
        return 'ok\n';
      case 'ping':
        return 'ok\n';
      default:
        return `error\tno such command\n`;
    }
  }

  #compose(client: Client, argv: readonly string[]): string {
    const { layout, command } = this.#options;
    const { steps, serving } = compose(argv, {
      exists: (volume) => statSync(volumeDir(layout, volume), { throwIfNoEntry: false })?.isDirectory() === true,
      faults: (volume) => this.#faultsOf(volume),
      ownServer: ({ volume, xattrs }) => [...command, 'serve', layout.dir, volume, 'FD', xattrs],
    });
    client.serving = serving;
    if (client.fuse !== undefined && serving?.by !== 'cluster') {
      close(client.fuse); // an own server must be the only one that keeps its mount alive
      client.fuse = undefined;
    }
    return steps;
  }

  #adopt(client: Client): string {
    const { fuse, serving } = client;
    if (serving?.by === 'cluster' && fuse !== undefined) {
      client.fuse = undefined;
      this.#serve(fuse, serving.volume, serving.xattrs, client);
    }
    return 'ok\n';
  }

  #serve(fd: number, volume: string, xattrs: 'offered' | 'disabled', client: Client | undefined): Mounted {
    const mounted = new Mounted(fd, volume, volumeDir(this.#options.layout, volume), xattrs);
    mounted.misbehave(this.#faultsOfMounts(volume));
    this.#mounts.set(mounted, client);
    let listened = mounted.listens;
    this.#watch(
      fd,
      (broken) => {
        if (broken || !mounted.serve()) this.#drop(mounted);
        else if (mounted.listens !== listened) this.#epoll.change(fd, (listened = mounted.listens) ? EPOLLIN : 0);
      },
      listened ? EPOLLIN : 0,
    );
    mounted.serve();
    return mounted;
  }

  #drop(mounted: Mounted): void {
    const client = this.#mounts.get(mounted);
    this.#mounts.delete(mounted);
    this.#forget(mounted.fd);
    mounted[Symbol.dispose]();
    if (client !== undefined) this.#hangUp(client); // a helper or its daemon that waits for the mount's end
  }

  #faultsOf(volume: string): Fault[] {
    const known = this.#faults.get(volume);
    if (known !== undefined) return known;
    const faults = readFaults(faultsFile(this.#options.layout, volume));
    this.#faults.set(volume, faults);
    return faults;
  }

  /** The cluster never ends with a mount, so it does not keep back what is written. */
  #faultsOfMounts(volume: string): Fault[] {
    const faults = this.#faultsOf(volume);
    return this.#options.inherited === undefined ? faults.filter(({ kind }) => kind !== 'slow-end') : faults;
  }

  #reload(volume: string): string {
    this.#faults.delete(volume);
    const faults = this.#faultsOfMounts(volume);
    for (const mounted of this.#of(volume)) {
      mounted.misbehave(faults);
      this.#watched.get(mounted.fd)?.(false); // turns its interest to what it is now, and serves what has waited
    }
    return 'ok\n';
  }

  #kill(volume: string): string {
    const dying = this.#of(volume);
    for (const mounted of dying) this.#drop(mounted);
    return `ok\t${dying.length}\n`;
  }

  #of(volume: string): Mounted[] {
    return [...this.#mounts.keys()].filter((mounted) => mounted.volume === volume);
  }
}

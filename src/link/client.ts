// What every client of a process of ours has, whatever it asks: a line that is made again whenever it is lost.

import { Line, type LinePorts, type Other } from './line.js';

/** The asking side of a conversation; what can be asked is the subclass's. */
export abstract class LinkClient {
  protected readonly line: Line;

  /** Begins to connect at once, and does not stop trying until {@link close}. */
  protected constructor(ports: LinePorts, other: Other) {
    this.line = new Line(ports, other);
  }

  /** Whether the process is connected now. */
  get connected(): boolean {
    return this.line.connected;
  }

  /** Ends the connection for good. What waits for an answer is told that it is lost. */
  close(): void {
    this.line.close();
  }

  /** Calls the listener each time a connection has been made, until the returned function is called. */
  onConnect(listener: () => void): () => void {
    return this.line.onConnect(listener);
  }
}

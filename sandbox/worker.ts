// The serving thread's first lines: it says when it listens, and then serves until it is told to stop.
import { parentPort, workerData } from 'node:worker_threads';
import { Server, type ServerOptions } from './server.js';

const server = new Server(workerData as ServerOptions);
parentPort?.postMessage('ready');
server.run();

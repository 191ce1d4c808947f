// How the command line speaks to the servers of a sandbox: one line there, words separated by zero bytes, one line back.
// It loads nothing but node:net, because every test waits for it.
import { readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Layout } from './layout.js';

const DEADLINE_MS = 10_000;

/** Sends a command to one server and answers its line; rejects with ECONNREFUSED or ENOENT where none listens. */
export function ask(socket: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const connection = connect(socket, () => connection.write(`${words.join('\0')}\n`));
    connection.setTimeout(DEADLINE_MS, () => connection.destroy(new Error(`no answer within ${DEADLINE_MS} ms`)));
    connection.on('data', (data) => {
      answer += data.toString();
      if (answer.endsWith('\n')) connection.destroy();
    });
    connection.on('error', reject);
    connection.on('close', () =>
      answer.endsWith('\n') ? resolve(answer.trimEnd()) : reject(new Error('the server went away')),
    );
  });
}

/** Sends a command to the cluster and to every own server; answers the lines of those that live. */
export async function askAll(layout: Layout, words: readonly string[]): Promise<string[]> {
  const own = list(layout.servers).map((name) => join(layout.servers, name));
  const answers = await Promise.all([layout.socket, ...own].map((socket) => askIfAlive(layout, socket, words)));
  return answers.filter((answer) => answer !== undefined);
}

async function askIfAlive(layout: Layout, socket: string, words: readonly string[]): Promise<string | undefined> {
  try {
    return await ask(socket, words);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ECONNREFUSED' && code !== 'ENOENT') throw error;
    if (socket !== layout.socket) rmSync(socket, { force: true }); // its server was killed
    return undefined;
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

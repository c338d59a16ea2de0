// One GET for readiness checks. Not fetch: its pool would keep sockets to servers that are about to be stopped.
import { get } from 'node:http';

const TIMEOUT_MS = 5_000;

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export function httpGet(url: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    request.once('timeout', () => request.destroy(new Error(`${url} did not answer in ${TIMEOUT_MS} ms`)));
    request.once('error', reject);
  });
}

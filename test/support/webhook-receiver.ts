import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly headers: IncomingHttpHeaders;
  /** As it was sent. */
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Somebody's receiver on loopback: keeps what it is sent, and answers as it is told. */
export class WebhookReceiver {
  readonly received: Received[] = [];
  /** Statuses of the next answers; 204 when there are none left. `null` never answers. */
  readonly answers: (number | null)[] = [];
  headers: Readonly<Record<string, string>> = {};
  private readonly server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      this.received.push({ headers: request.headers, text, body: JSON.parse(text) as Received['body'] });
      const status = this.answers.shift();
      if (status !== null) response.writeHead(status ?? 204, this.headers).end();
    });
  });

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    receiver.server.listen(0, '127.0.0.1');
    await once(receiver.server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hooks/secret-path`;
  }

  /** In the order they came, each once. */
  get events(): string[] {
    const seen = new Map(this.received.map(({ headers, body }) => [headers['idempotency-key'], String(body['event'])]));
    return [...seen.values()];
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

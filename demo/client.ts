import { sign } from 'aws4';

/** How a client proves to a cluster who it is. */
export type Login =
  | { readonly type: 'sigv4'; readonly region: string; readonly accessKeyId: string; readonly secretAccessKey: string }
  | { readonly type: 'basic'; readonly username: string; readonly password: string };

/** An application's client of one managed cluster. */
export class Client {
  constructor(
    readonly url: string,
    private readonly login: Login,
  ) {}

  /** The body of an answer. @throws Error for one that is not 2xx */
  async call(method: string, path: string, body?: object): Promise<unknown> {
    const { status, text } = await this.send(method, path, body);
    if (status >= 300) throw new Error(`${method} ${this.url}${path}: ${status} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  }

  async send(method: string, path: string, body?: object): Promise<{ readonly status: number; readonly text: string }> {
    const bytes = body === undefined ? '' : JSON.stringify(body);
    const headers = { 'content-type': 'application/json', ...this.proof(method, path, bytes) };
    const response = await fetch(`${this.url}${path}`, { method, headers, ...(bytes === '' ? {} : { body: bytes }) });
    return { status: response.status, text: await response.text() };
  }

  private proof(method: string, path: string, body: string): Record<string, string> {
    const { login } = this;
    if (login.type === 'basic') {
      return { authorization: `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}` };
    }
    const host = new URL(this.url).host;
    const headers = { 'content-type': 'application/json' };
    const signed = sign({ service: 'es', region: login.region, method, path, body, host, headers }, login).headers;
    // The other headers are the connection's own.
    return Object.fromEntries(
      Object.entries(signed ?? {})
        .filter(([name]) => /^(authorization|x-amz-)/i.test(name))
        .map(([name, value]) => [name, String(value)]),
    );
  }
}

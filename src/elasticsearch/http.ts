import { Agent, request } from 'undici';
import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { ClusterAuth, ClusterConnection } from './connection';
import { errorOf, readRefusal } from './failures';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With query; index names in it are encoded. */
  readonly path: string;
  readonly body?: object;
  readonly timeoutMs?: number;
}

/** A busy 5.x node answers snapshot calls after 100 s: one thread serves them all (facts/elasticsearch-verified.md section 3). */
const PATIENT_MS = 180_000;
/** Blocks must be prompt: the lease counts on it that no attempt acts later than this. */
export const PROMPT_MS = 30_000;

/** One cluster's HTTP: every call ends, by an answer, a time-out or the caller's signal. Tries once. */
export class Http {
  private readonly agent: Agent;
  private readonly base: string;

  constructor(private readonly connection: ClusterConnection) {
    if (connection.auth.type === 'sigv4') throw notLanded(connection.name, 'auth type sigv4');
    if (connection.proxy !== undefined) throw notLanded(connection.name, 'a proxy');
    this.base = connection.url.replace(/\/+$/, '');
    this.agent = new Agent({
      connections: 16,
      connect: { timeout: 5_000, ...(connection.caCertificate === undefined ? {} : { ca: connection.caCertificate }) },
    });
  }

  /** The parsed body of a 2xx; otherwise the error of the table in failures.ts. */
  async call<T>(call: Call, signal: AbortSignal): Promise<T> {
    const answer = await this.send(call, signal);
    if (answer.status >= 300)
      throw errorOf(readRefusal(answer.status, answer.body, answer.retryAfter), this.subject(call));
    return this.parse<T>(call, answer.body);
  }

  /** As `call`, but `undefined` for 404. */
  async find<T>(call: Call, signal: AbortSignal): Promise<T | undefined> {
    const answer = await this.send(call, signal);
    if (answer.status === 404) return undefined;
    if (answer.status >= 300)
      throw errorOf(readRefusal(answer.status, answer.body, answer.retryAfter), this.subject(call));
    return this.parse<T>(call, answer.body);
  }

  /** The bare answer, for calls whose refusal means something of its own. */
  async send(
    call: Call,
    signal: AbortSignal,
  ): Promise<{ status: number; body: string; retryAfter: string | undefined }> {
    signal.throwIfAborted();
    const timeout = call.timeoutMs ?? PATIENT_MS;
    try {
      const response = await request(`${this.base}${call.path}`, {
        method: call.method,
        dispatcher: this.agent,
        headersTimeout: timeout,
        bodyTimeout: timeout,
        signal,
        headers: { ...authorization(this.connection.auth), ...(call.body && { 'content-type': 'application/json' }) },
        ...(call.body && { body: JSON.stringify(call.body) }),
      });
      const retryAfter = response.headers['retry-after'];
      return {
        status: response.statusCode,
        body: await response.body.text(),
        retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      };
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw new UnavailableError(
        `The cluster does not answer (${codeOf(cause)}): it may be down, or may still do what was asked`,
        {
          subject: this.subject(call),
          cause,
        },
      );
    }
  }

  private parse<T>(call: Call, body: string): T {
    try {
      return JSON.parse(body) as T;
    } catch (cause) {
      throw new UnavailableError('The cluster answers something that is not JSON: is it Elasticsearch, or a proxy?', {
        subject: this.subject(call),
        cause,
      });
    }
  }

  private subject(call: Call) {
    const path = call.path.length > 200 ? `${call.path.slice(0, 200)}…` : call.path;
    return { cluster: this.connection.name, url: this.base, request: `${call.method} ${path}` };
  }
}

function authorization(auth: ClusterAuth): Record<string, string> {
  switch (auth.type) {
    case 'basic':
      return { authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password()}`).toString('base64')}` };
    case 'apiKey':
      return { authorization: `ApiKey ${auth.key()}` };
    case 'none':
    case 'sigv4':
      return {};
  }
}

function notLanded(cluster: string, what: string): ConfigurationError {
  return new ConfigurationError(`${what} has not landed yet`, { subject: { cluster } });
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : error instanceof Error ? error.message : 'no reason given';
}

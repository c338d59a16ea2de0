import { Agent, request } from 'undici';
import { ConfigurationError, MigrationError, UnavailableError } from '../domain/errors';
import { connectorThrough } from '../net/proxy';
import { ProxyError } from '../net/proxy-error';
import { proverOf, redact } from './credentials';
import type { Proof, Prove } from './credentials';
import type { ClusterConnection } from './connection';
import { errorOf, readRefusal, titleOf } from './failures';
import type { Refusal } from './failures';
import { clockSkew } from './sigv4';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With query; names in it are encoded. */
  readonly path: string;
  readonly body?: object;
  /** What of the body no message may quote. */
  readonly secrets?: readonly string[];
  /** From the call to the last byte of the answer. */
  readonly timeoutMs?: number;
  /** Statuses besides 2xx whose body is an answer and no error. */
  readonly accept?: readonly number[];
}

export type Attempt<T> =
  | { readonly ok: true; readonly body: T }
  | { readonly ok: false; readonly refusal: Refusal; readonly error: MigrationError };

/** A busy 5.x node answers snapshot calls after 100 s: one thread serves them all (facts/elasticsearch-verified.md section 3). */
const PATIENT_MS = 180_000;
/** Blocks must be prompt: the lease counts on it that no attempt acts later than this. */
export const PROMPT_MS = 30_000;
const CONNECT_MS = 5_000;
const CONNECTIONS = 16;
const PATH_SHOWN = 200;

/** The server is there and is not the one that was meant: the same tomorrow. */
const MISCONFIGURED: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not trusted: name its authority as caCertificate',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not trusted: name its authority as caCertificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not trusted: name its authority as caCertificate',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is not trusted: name its authority as caCertificate',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host: correct the url',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS: correct the url',
  ERR_OSSL_PEM_NO_START_LINE: 'caCertificate is not a certificate in PEM form',
  ERR_OSSL_PEM_BAD_BASE64_DECODE: 'caCertificate is not a certificate in PEM form',
  UND_ERR_INVALID_ARG: 'its credentials cannot be sent: do they end in a line break?',
};

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;
}

/**
 * One cluster's HTTP. Every call ends: by an answer, its time-out or the caller's signal. Each is tried once, and once
 * more only where it was refused for a token that has been renewed since; Temporal is the one authority for retries.
 */
export class Http {
  private readonly agent: Agent;
  private readonly base: string;
  private readonly prove: Prove;

  constructor(private readonly connection: ClusterConnection) {
    this.base = connection.url.replace(/\/+$/, '');
    this.prove = proverOf(connection.auth);
    const { caCertificate: ca, proxy } = connection;
    const connect = { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca }) };
    this.agent = new Agent({
      connections: CONNECTIONS,
      connect: proxy === undefined ? connect : connectorThrough(proxy, connect),
      // `exchange` keeps one clock for the whole call: these would start anew with every chunk.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** Calls that have not ended reject. */
  close(): Promise<void> {
    return this.agent.destroy();
  }

  get<T>(path: string, signal: AbortSignal): Promise<T> {
    return this.call<T>({ method: 'GET', path }, signal);
  }

  /** The parsed body of a 2xx; otherwise throws by the table in failures.ts. */
  async call<T>(call: Call, signal: AbortSignal): Promise<T> {
    const attempt = await this.attempt<T>(call, signal);
    if (!attempt.ok) throw attempt.error;
    return attempt.body;
  }

  /** As `call`, but `undefined` where the cluster says `missing`, an `error.type`. Any other 404 is an error. */
  async find<T>(call: Call, missing: string, signal: AbortSignal): Promise<T | undefined> {
    const attempt = await this.attempt<T>(call, signal);
    if (attempt.ok) return attempt.body;
    if (attempt.refusal.type === missing) return undefined;
    throw attempt.error;
  }

  /**
   * As `call`, for changes of the cluster's state. `acknowledged: false` means that a node has not applied it in time
   * (of a block: still takes writes), so it is `UnavailableError`: perhaps done.
   */
  async change<T>(call: Call, signal: AbortSignal): Promise<T> {
    const body = await this.call<T & { readonly acknowledged?: boolean }>(call, signal);
    if (body.acknowledged !== false) return body;
    throw new UnavailableError('A node has not acknowledged the change in time: it may be in force or not', {
      subject: this.subject(call),
    });
  }

  /** For calls whose refusal means something of its own. */
  async attempt<T>(call: Call, signal: AbortSignal): Promise<Attempt<T>> {
    const attempt = await this.attemptText(call, signal);
    return attempt.ok ? { ok: true, body: this.parse<T>(call, attempt.body) } : attempt;
  }

  /** As `attempt`, with the answer as it came: for those to whom a number is more than a double holds. */
  async attemptText(call: Call, signal: AbortSignal): Promise<Attempt<string>> {
    const { status, body, retryAfter } = await this.exchange(call, signal);
    if ((status >= 200 && status < 300) || call.accept?.includes(status) === true) return { ok: true, body };
    const refusal = readRefusal(status, body, retryAfter);
    return { ok: false, refusal, error: errorOf(refusal, this.subject(call)) };
  }

  /** What a message says of a call. */
  subject({ method, path }: Call) {
    const shown = path.length > PATH_SHOWN ? `${path.slice(0, PATH_SHOWN)}…` : path;
    return { cluster: this.connection.name, url: this.base, request: `${method} ${shown}` };
  }

  private async exchange(call: Call, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const deadline = new AbortController();
    const giveUp = () => deadline.abort();
    const timer = setTimeout(giveUp, call.timeoutMs ?? PATIENT_MS);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await this.request(call, deadline.signal);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw this.noAnswer(call, deadline.signal.aborted ? 'time-out' : codeOf(cause), cause);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    }
  }

  private async request(call: Call, signal: AbortSignal): Promise<Answer> {
    const first = await this.send(call, signal);
    if (first.status !== 403) return first;
    const { signedAt, renew } = first.proof;
    const skew = signedAt === undefined ? undefined : clockSkew(signedAt, first.date, this.subject(call));
    if (skew !== undefined) throw skew;
    const isRenewed = renew !== undefined && (await untilAborted(renew(), signal));
    return isRenewed ? this.send(call, signal) : first;
  }

  private async send(call: Call, signal: AbortSignal): Promise<Answer & { readonly proof: Proof }> {
    const url = new URL(`${this.base}${call.path}`);
    const body = call.body && JSON.stringify(call.body);
    const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
    const { method } = call;
    // Keys may be asked of services that know nothing of our time-out.
    const proof = await untilAborted(this.prove({ method, url, headers, body }), signal);
    const sent = request(url, {
      method,
      dispatcher: this.agent,
      signal,
      headers: { ...headers, ...proof.headers },
      ...(body === undefined ? {} : { body }),
    });
    // undici looks at the signal only once there is a connection.
    const response = await untilAborted(sent, signal);
    const answered = await response.body.text();
    return {
      status: response.statusCode,
      // A proxy's error page may quote the request.
      body: response.statusCode < 300 ? answered : redact(answered, [...proof.secrets, ...(call.secrets ?? [])]),
      retryAfter: single(response.headers['retry-after']),
      date: single(response.headers['date']),
      proof,
    };
  }

  private noAnswer(call: Call, code: string, cause: unknown): MigrationError {
    if (cause instanceof MigrationError) return cause; // of the credentials or the clock, which say it better
    const options = { subject: this.subject(call), cause };
    if (cause instanceof ProxyError) return proxyFailure(cause, options);
    const why = MISCONFIGURED[code];
    if (why !== undefined) return new ConfigurationError(`The cluster cannot be reached: ${why}`, options);
    const message = `The cluster does not answer (${code}): it may be down, or may still do what was asked`;
    return new UnavailableError(message, options);
  }

  private parse<T>(call: Call, body: string): T {
    try {
      return JSON.parse(body) as T;
    } catch {
      // Without the parser's error, which quotes the body.
      const title = titleOf(body);
      throw new UnavailableError(
        title === undefined
          ? 'The cluster answers with what is not JSON: is it Elasticsearch, or a proxy?'
          : `A web page answers instead of the cluster (${title}): correct the url, or sign in where the proxy wants it`,
        { subject: this.subject(call) },
      );
    }
  }
}

function proxyFailure({ message, isFinal }: ProxyError, options: ConstructorParameters<typeof ConfigurationError>[1]) {
  return isFinal ? new ConfigurationError(message, options) : new UnavailableError(message, options);
}

function single(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined;
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason as Error);
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : 'no reason given';
}

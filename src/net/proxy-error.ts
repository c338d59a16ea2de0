// Apart, for whoever only reads errors, and need not load what it takes to reach a proxy.

/** The proxy gives no connection. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';

  constructor(
    message: string,
    /** True when the proxy answered and would answer the same tomorrow: it wants credentials, or forbids the server. */
    readonly isFinal: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

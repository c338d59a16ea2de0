// Who we are to AWS, kept fresh for as long as a migration takes. The only file that knows the SDK's credential chain.
import { ConfigurationError, MigrationError, UnavailableError } from '../domain/errors';

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Undefined: until somebody revokes them. */
  readonly expiration?: Date;
}

export interface AwsIdentity {
  readonly region: string;
  /** Read anew with every request. Undefined: the default chain (environment, shared files, SSO, container, instance). */
  readonly keys?: () => AwsKeys;
  /** Of the shared configuration files. */
  readonly profile?: string;
  /** Assumed by the keys above. */
  readonly roleArn?: string;
}

// The SDK prints twelve lines per process about Node 20; our `engines` say what we support.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

/** Requests that are under way must not outlive their token: the longest waits three minutes for its answer. */
const REFRESH_BEFORE_MS = 5 * 60_000;
/** Keys that were asked for within this time are not asked for again while they last, whatever was answered. */
const AGAIN_AFTER_MS = 60_000;
const ROLE_SESSION = 'snapferry';

/** Keys for signing. They are fetched once, by whoever asks first, and again before they expire. */
export class AwsCredentials {
  #known: AwsKeys | undefined;
  #fetching: Promise<AwsKeys> | undefined;
  #askedAt = -Infinity;

  constructor(
    private readonly identity: AwsIdentity,
    private readonly now: () => number = Date.now,
  ) {}

  /** @throws ConfigurationError when there are none, or they may not assume the role; UnavailableError when AWS is away */
  async keys(): Promise<AwsKeys> {
    if (this.identity.keys !== undefined && this.identity.roleArn === undefined) return this.identity.keys();
    const known = this.#known;
    if (known !== undefined && this.#lasts(known, REFRESH_BEFORE_MS)) return known;
    const isUsable = known !== undefined && this.#lasts(known, 0);
    if (isUsable && this.now() - this.#askedAt < AGAIN_AFTER_MS) return known;
    // Better keys for the last minutes than none.
    return isUsable ? this.#fetch().catch(() => known) : this.#fetch();
  }

  /** After a refusal: whether `keys` now gives others than those, because a file or a token was renewed meanwhile. */
  async renew(refused: AwsKeys): Promise<boolean> {
    if (this.#known !== undefined) {
      // So young, it is not refused for its age.
      if (this.now() - this.#askedAt < AGAIN_AFTER_MS) return false;
      await this.#fetch();
    }
    const { accessKeyId, sessionToken } = await this.keys();
    return accessKeyId !== refused.accessKeyId || sessionToken !== refused.sessionToken;
  }

  #lasts({ expiration }: AwsKeys, ms: number): boolean {
    return expiration === undefined || expiration.getTime() - this.now() > ms;
  }

  #fetch(): Promise<AwsKeys> {
    this.#fetching ??= this.#ask().finally(() => (this.#fetching = undefined));
    return this.#fetching;
  }

  async #ask(): Promise<AwsKeys> {
    this.#askedAt = this.now();
    return (this.#known = await resolve(this.identity));
  }
}

/**
 * When a session ends that nobody renews, in epoch milliseconds: keys that are named, or those of the environment, which
 * the chain prefers where no profile is asked for. `unknown` where nothing says it; undefined for keys that do not end, and
 * for what the chain renews (roles, instances, processes, SSO).
 */
export function endOfSession(
  { keys, profile }: Pick<AwsIdentity, 'keys' | 'profile'>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): number | 'unknown' | undefined {
  const isOfEnvironment =
    (profile ?? env['AWS_PROFILE']) === undefined && env['AWS_ACCESS_KEY_ID'] && env['AWS_SECRET_ACCESS_KEY'];
  const chained = isOfEnvironment ? env['AWS_SESSION_TOKEN'] : undefined;
  const token = keys === undefined ? chained : keys().sessionToken;
  if (!token) return undefined;
  const end = token === env['AWS_SESSION_TOKEN'] ? Date.parse(env['AWS_CREDENTIAL_EXPIRATION'] ?? '') : NaN;
  return Number.isNaN(end) ? 'unknown' : end;
}

/** Providers remember, so each time it is a new one, which reads the shared files again. */
async function resolve({ region, keys, profile, roleArn }: AwsIdentity): Promise<AwsKeys> {
  // Loaded when somebody asks: most connections files name the keys themselves.
  const { fromNodeProviderChain, fromTemporaryCredentials } = await import('@aws-sdk/credential-providers');
  try {
    const own = keys === undefined ? fromNodeProviderChain({ profile, ignoreCache: true }) : async () => keys();
    if (roleArn === undefined) return await own();
    return await fromTemporaryCredentials({
      masterCredentials: own,
      params: { RoleArn: roleArn, RoleSessionName: ROLE_SESSION },
      clientConfig: { region },
    })();
  } catch (cause) {
    throw cause instanceof MigrationError ? cause : failureOf(cause, { profile, roleArn });
  }
}

interface SdkError {
  readonly name: string;
  readonly message: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** By status, and by name where nobody answered because nobody was asked. */
function failureOf(cause: unknown, subject: { profile?: string; roleArn?: string }): MigrationError {
  const { name, message, $metadata } = cause as SdkError;
  const status = $metadata?.httpStatusCode;
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') {
    const advice = 'give the worker some by environment, shared file or role, or name them in the connections file';
    return new ConfigurationError(`There are no AWS credentials: ${message}: ${advice}`, { subject, cause });
  }
  if (status !== undefined && status >= 400 && status < 500 && status !== 429) {
    const advice = 'let the role trust these credentials and allow them sts:AssumeRole';
    return new ConfigurationError(`AWS gives no credentials (${name}): ${message}: ${advice}`, { subject, cause });
  }
  return new UnavailableError(`AWS does not give credentials now (${name}): ${message}`, { subject, cause });
}

import type { AwsIdentity } from '../net/aws-credentials';

/** How to reach a cluster; what the connections file says about one name. Secrets are functions, so that they rotate. */
export interface ClusterConnection {
  readonly name: string;
  /** Without user info. */
  readonly url: string;
  readonly auth: ClusterAuth;
  /** PEM; the cluster's own certificate authority. */
  readonly caCertificate?: string;
  /** `socks5:`, `socks5h:`, `http:` or `https:`; it resolves the names. */
  readonly proxy?: string;
}

export type ClusterAuth =
  | { readonly type: 'none' }
  | { readonly type: 'basic'; readonly username: string; readonly password: () => string }
  | { readonly type: 'apiKey'; readonly key: () => string }
  /** Signed with Amazon's Signature Version 4, for the service `es` unless it says another. */
  | ({ readonly type: 'sigv4'; readonly service?: string } & AwsIdentity);

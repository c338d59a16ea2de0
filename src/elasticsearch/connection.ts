/** How to reach a cluster; what the connections file says about one name. Secrets are functions, so that they rotate. */
export interface ClusterConnection {
  readonly name: string;
  /** Without user info. */
  readonly url: string;
  readonly auth: ClusterAuth;
  /** PEM; the cluster's own certificate authority. */
  readonly caCertificate?: string;
  readonly proxy?: string;
}

export type ClusterAuth =
  | { readonly type: 'none' }
  | { readonly type: 'basic'; readonly username: string; readonly password: () => string }
  | { readonly type: 'apiKey'; readonly key: () => string }
  | {
      readonly type: 'sigv4';
      readonly region: string;
      readonly service?: string;
      readonly profile?: string;
      readonly roleArn?: string;
    };

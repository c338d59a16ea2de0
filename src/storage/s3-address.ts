/** Where a bucket is reached: its name in the host or in the path. */
import { isIP } from 'node:net';
import { ConfigurationError } from '../domain/errors';
import { encodePath } from './percent';

export interface S3Address {
  /** `https://host[:port]` */
  readonly origin: string;
  /** `host[:port]` */
  readonly host: string;
  /** Percent-encoded, in front of every key, without a slash at its end. */
  readonly root: string;
  /** Equal for two buckets when the one can copy from the other by itself. */
  readonly provider: string;
}

/** A name that is one label of a host: with dots in it, no wildcard certificate would cover it. */
const LABEL = /^[a-z0-9][a-z0-9-]*[a-z0-9]$/;

/**
 * The bucket goes into the host name, which AWS, COS and OSS's S3 door want (the last two take nothing else), unless
 * `pathStyle` says otherwise or it can not.
 *
 * @throws ConfigurationError for an endpoint that is no http URL
 */
export function addressOf(options: {
  readonly bucket: string;
  readonly region: string;
  readonly endpoint?: string;
  readonly pathStyle?: boolean;
}): S3Address {
  const { bucket, region, endpoint, pathStyle } = options;
  const url = endpoint === undefined ? new URL(`https://${awsHost(region)}`) : urlOf(endpoint, bucket);
  const inHost = pathStyle !== true && LABEL.test(bucket) && isIP(url.hostname.replace(/^\[|\]$/g, '')) === 0;
  const host = inHost ? `${bucket}.${url.host}` : url.host;
  const below = url.pathname.replace(/\/+$/, '');
  return {
    origin: `${url.protocol}//${host}`,
    host,
    root: inHost ? below : `${below}/${encodePath(bucket)}`,
    // One endpoint is one provider; AWS copies from region to region, but not from partition to partition.
    provider: endpoint === undefined ? awsDomain(region) : url.origin + below,
  };
}

function urlOf(endpoint: string, bucket: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new ConfigurationError('The endpoint of the store is not a URL such as https://host:port.', {
    subject: { store: `s3://${bucket}`, endpoint },
  });
}

function awsHost(region: string): string {
  return `s3.${region}.${awsDomain(region)}`;
}

function awsDomain(region: string): string {
  return region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
}

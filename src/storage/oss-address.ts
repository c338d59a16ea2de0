/** Where a bucket of OSS is reached. */
import { isIP } from 'node:net';
import { ConfigurationError } from '../domain/errors';
import { encodePath } from './percent';

export interface OssAddress {
  /** `https://host[:port]` */
  readonly origin: string;
  /** In front of the slash of every key: empty, or `/bucket`. */
  readonly root: string;
}

/**
 * OSS wants the bucket in the host name, whichever of its endpoints is asked: public, `-internal`, `oss-accelerate`,
 * dual-stack. Two exceptions: a CNAME is the bucket's own already, and a server that is reached by its IP address or as
 * `localhost` has no such names, so the bucket goes into the path, as with OSS's own SDKs.
 *
 * @throws ConfigurationError for an endpoint that is no URL of a host, or is the bucket's own without `cname`
 */
export function ossAddress(options: {
  readonly bucket: string;
  readonly region: string;
  readonly endpoint?: string;
  readonly cname?: boolean;
}): OssAddress {
  const { bucket, region, endpoint = `https://oss-${region}.aliyuncs.com`, cname = false } = options;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const refuse = (message: string) =>
    new ConfigurationError(message, { subject: { store: `oss://${bucket}`, endpoint } });
  if ((url?.protocol !== 'http:' && url?.protocol !== 'https:') || url.pathname !== '/') {
    throw refuse('The endpoint of the store is not a URL such as https://oss-cn-hangzhou-internal.aliyuncs.com.');
  }
  const { protocol, host, hostname } = url;
  if (cname) return { origin: `${protocol}//${host}`, root: '' };
  if (hostname.startsWith(`${bucket}.`)) {
    throw refuse('The endpoint of the store begins with the bucket: leave that out, or say cname: true.');
  }
  const hasNames = hostname !== 'localhost' && isIP(hostname.replace(/^\[|\]$/g, '')) === 0;
  return hasNames
    ? { origin: `${protocol}//${bucket}.${host}`, root: '' }
    : { origin: `${protocol}//${host}`, root: `/${encodePath(bucket)}` };
}

/** A connection of the worker's file made into a store. Connects to nothing: that happens with the first call. */
import { openDirectory } from './directory';
import { openOss } from './oss';
import type { OssOptions } from './oss';
import type { OssCredentials } from './oss-signer';
import type { S3Options } from './s3';
import { openS3 } from './s3';
import type { S3Credentials } from './s3-signer';
import type { Store } from './store';

export interface S3Connection {
  readonly type: 's3';
  readonly bucket: string;
  readonly region: string;
  readonly endpoint?: string;
  readonly pathStyle?: boolean;
  /** Asked before every request. Undefined: the AWS chain (environment, profile, role). */
  readonly credentials?: () => S3Credentials;
  readonly encryption?: S3Options['encryption'];
  readonly proxy?: S3Options['proxy'];
}

export interface DirectoryConnection {
  readonly type: 'directory';
  readonly path: string;
}

export interface OssConnection {
  readonly type: 'oss';
  readonly bucket: string;
  /** Without `oss-`. */
  readonly region: string;
  readonly endpoint?: string;
  /** The endpoint is a domain of the bucket's own. */
  readonly cname?: boolean;
  /** Asked before every request. */
  readonly credentials: () => OssCredentials;
  readonly encryption?: OssOptions['encryption'];
  readonly proxy?: OssOptions['proxy'];
}

export type StoreConnection = S3Connection | DirectoryConnection | OssConnection;

export function openStore(connection: StoreConnection): Store {
  switch (connection.type) {
    case 's3':
      return openS3(connection);
    case 'directory':
      return openDirectory(connection.path);
    case 'oss':
      return openOss(connection);
  }
}

// Repositories in buckets, kept by a real node as `fs`: a bucket is a folder of `root`, which an S3 or OSS server may
// serve at the same time. The settings of the bucket are kept among those of the `fs` repository, where a node allows
// and ignores what it does not know; so a stand-in that is started anew knows what it registered.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { NodeHttp, Reply } from './managed-service';
import { objectIn } from './managed-service';
import { shareDirectory } from './sharing';

export type Settings = Readonly<Record<string, unknown>>;

export interface Definition {
  readonly type: string;
  readonly settings: Settings;
}

/** A folder of the root where repositories lie that have no bucket to go to. No bucket is called so. */
const NOWHERE = '.nowhere';

export class BucketRepositories {
  constructor(
    /** Of the service: `s3`, `oss`. */
    private readonly type: string,
    private readonly root: string,
    private readonly node: NodeHttp,
    /** The bucket's full name, where the settings do not give it as it is. */
    private readonly bucketOf: (settings: Settings) => string = ({ bucket }) => String(bucket),
  ) {}

  /** Registers a repository; unverified for one that leads nowhere, as services do whose verification fails. */
  async register(name: string, settings: Settings, isReachable: boolean): Promise<Reply> {
    const bucket = isReachable ? this.bucketOf(settings) : NOWHERE;
    const location = path.join(this.root, bucket, String(settings['base_path'] ?? (isReachable ? '' : name)));
    // In a bucket a folder need not be there to be read.
    await mkdir(location, { recursive: true });
    await shareDirectory(path.join(this.root, bucket));
    const target = `/_snapshot/${encodeURIComponent(name)}${isReachable ? '' : '?verify=false'}`;
    return this.node.send('PUT', target, { type: 'fs', settings: { ...settings, location } });
  }

  /** As it was registered; undefined for one that is not, or that the service has nothing to do with. */
  async find(name: string): Promise<Definition | undefined> {
    const reply = await this.node.send('GET', `/_snapshot/${encodeURIComponent(name)}`);
    if (reply.status !== 200) return undefined;
    const found = objectIn(reply.body)?.[name] as Definition | undefined;
    return found && this.shown(found);
  }

  /** An answer to `GET _snapshot...` as the service gives it. */
  show(reply: Reply, change: (name: string, definition: Definition) => object): Reply {
    const found = reply.status === 200 ? (objectIn(reply.body) as Record<string, Definition> | undefined) : undefined;
    if (found === undefined) return reply;
    const all = Object.entries(found).map(([name, definition]) => [name, change(name, this.shown(definition))]);
    return { ...reply, body: JSON.stringify(Object.fromEntries(all)) };
  }

  private shown({ type, settings }: Definition): Definition {
    if (settings['bucket'] === undefined) return { type, settings };
    return {
      type: this.type,
      settings: Object.fromEntries(Object.entries(settings).filter(([key]) => key !== 'location')),
    };
  }
}

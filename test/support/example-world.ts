/**
 * The world of examples/: the plans and the connections file as they are shipped, with hosts that lead to servers of
 * this machine. Nothing in them is replaced; each cluster and store is only reached through a SOCKS5 proxy, which alone
 * knows the names, and TLS is by an authority that the worker is told of.
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createServer } from 'node:tls';
import { parse } from 'yaml';
import { shareDirectory } from '../../stack';
import { CERTIFICATE, KEY } from './example-certificate';
import { Ferry } from './ferry';
import type { FerryOptions } from './ferry';
import { listening, socks } from './proxies';

const EXAMPLES = path.join(__dirname, '../../examples');
/** What the example of a mounted folder says. */
const MOUNTED = '/srv/snapshots';
/** Every secret that the connections file refers to; none of them may be found anywhere afterwards. */
export const EXAMPLE_SECRETS = {
  AWS_SECRET_ACCESS_KEY: 'planted-aws-secret',
  ALIBABA_ES_PASSWORD: 'planted-alibaba-password',
  OSS_SECRET: 'planted-oss-secret',
  OTHER_OSS_SECRET: 'planted-other-oss-secret',
  TENCENT_ES_PASSWORD: 'planted-tencent-password',
  COS_SECRET: 'planted-cos-secret',
};
/** The other halves. */
export const EXAMPLE_IDS = {
  AWS_ACCESS_KEY_ID: 'AKIDENGINEER',
  OSS_KEY: 'oss-key',
  OTHER_OSS_KEY: 'other-oss-key',
  COS_KEY: 'cos-key',
};

type Plan = Readonly<Record<string, unknown>> & { readonly indices: readonly string[] };

/** A plan of examples/. */
export function examplePlan(file: string): Plan {
  return JSON.parse(readFileSync(path.join(EXAMPLES, file), 'utf8')) as Plan;
}

export class ExampleWorld {
  /** Hosts, or what they end with, and the `host:port` that each leads to. */
  private readonly ways: [string, string][] = [];

  private constructor(
    /** Where buckets of one provider lie as folders; nodes need it in their `path.repo`. */
    readonly root: string,
    private readonly proxy: string,
  ) {}

  static async open(): Promise<ExampleWorld> {
    const root = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-example-')), 'buckets');
    await shareDirectory(root);
    let world: ExampleWorld | undefined;
    const { url } = await socks((host) => world?.wayTo(host));
    return (world = new ExampleWorld(root, url));
  }

  /** The mounted folder of the examples, as nodes and worker both have it. */
  get mounted(): string {
    return path.join(this.root, 'mounted');
  }

  async bucket(name: string): Promise<void> {
    mkdirSync(path.join(this.root, name), { recursive: true });
    await shareDirectory(path.join(this.root, name));
  }

  /** A host, or all that end with `.suffix`, leads to this server. `tls` where clients say https and the server does not. */
  async lead(host: string, server: string, tls: boolean): Promise<void> {
    const { hostname, port } = new URL(server);
    const inner = { host: hostname, port: Number(port) };
    if (!tls) {
      this.ways.unshift([host, `${hostname}:${port}`]);
      return;
    }
    const front = createServer({ cert: CERTIFICATE, key: KEY }, (outside) => {
      const inside = connect(inner);
      outside.on('error', () => inside.destroy());
      inside.on('error', () => outside.destroy());
      outside.on('close', () => inside.destroy());
      outside.pipe(inside).pipe(outside);
    });
    this.ways.unshift([host, `127.0.0.1:${await listening(front)}`]);
  }

  private wayTo(host: string): string | undefined {
    return this.ways.find(([to]) => host === to || (to.startsWith('.') && host.endsWith(to)))?.[1];
  }

  /** A migration by that plan, as a user runs it. */
  async ferry(plan: Plan, servers: NonNullable<FerryOptions['servers']>): Promise<Ferry> {
    const ferry = await Ferry.create({
      source: 'http://unused',
      target: 'http://unused',
      indices: plan.indices,
      plan,
      servers,
      environment: { ...EXAMPLE_SECRETS, ...EXAMPLE_IDS, NODE_EXTRA_CA_CERTS: this.authority() },
    });
    writeFileSync(path.join(ferry.dir, 'connections.yaml'), this.connections());
    return ferry;
  }

  private authority(): string {
    const file = path.join(path.dirname(this.root), 'authority.pem');
    writeFileSync(file, CERTIFICATE);
    return file;
  }

  /** JSON, which is YAML. */
  private connections(): string {
    const text = readFileSync(path.join(EXAMPLES, 'connections.yaml'), 'utf8').replaceAll(MOUNTED, this.mounted);
    const file = parse(text) as Record<'clusters' | 'stores', Record<string, { type?: string; proxy?: string }>>;
    for (const one of [...Object.values(file.clusters), ...Object.values(file.stores)]) {
      if (one.type !== 'directory') one.proxy = this.proxy;
    }
    return JSON.stringify(file);
  }
}

// Two gateways with a bucket each, and what is done to them between two copies.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { goProgram } from '../stack/go';
import { freePort, startVersitygw } from '../stack';
import { launch, runFolder } from '../stack/processes';
import type { Task } from './contenders';
import { makeBucket } from './corpus';
import type { CorpusName } from './corpus';
import { cpuSOf } from './measure';

export interface Endpoints {
  readonly source: string;
  readonly target: string;
}

const KEYS = { accessKeyId: 'benchkey', secretAccessKey: 'benchsecretbenchsecret' };
const TARGET_BUCKET = 'target';
const LATENCY_MS = 20;

export class Arena {
  private constructor(
    private readonly data: string,
    readonly endpoints: Endpoints,
    private readonly pids: readonly number[],
  ) {}

  /** Starts both gateways over folders below `data`. `stopAll()` of stack/ ends them. */
  static async open(data: string): Promise<Arena> {
    for (const side of ['source', 'target']) await mkdir(path.join(data, side), { recursive: true });
    const [source, target] = await Promise.all([
      startVersitygw({ root: path.join(data, 'source'), ...KEYS }),
      startVersitygw({ root: path.join(data, 'target'), ...KEYS }),
    ]);
    return new Arena(data, { source: source.endpoint, target: target.endpoint }, [source.pid, target.pid]);
  }

  /** CPU seconds that both gateways have taken so far. */
  cpuS(): number {
    return this.pids.reduce((sum, pid) => sum + cpuSOf(pid), 0);
  }

  makeSource(corpus: CorpusName): Promise<void> {
    return makeBucket(corpus, path.join(this.data, 'source'), this.metadata('source'));
  }

  /** For the client `name`, which gets a folder of its own. */
  task(corpus: CorpusName, name: string, { source, target } = this.endpoints): Task {
    return {
      ...KEYS,
      source: { endpoint: source, bucket: corpus },
      target: { endpoint: target, bucket: TARGET_BUCKET },
      folder: path.join(this.data, 'clients', name.replace(' ', '-')),
    };
  }

  async emptyTarget(): Promise<void> {
    for (const root of [path.join(this.data, 'target'), this.metadata('target')]) {
      await rm(path.join(root, TARGET_BUCKET), { recursive: true, force: true });
    }
    await mkdir(path.join(this.data, 'target', TARGET_BUCKET), { recursive: true });
    await rm(path.join(this.data, 'clients'), { recursive: true, force: true });
  }

  /** Where versitygw keeps what is no byte of an object: stack/versitygw.ts. */
  private metadata(side: 'source' | 'target'): string {
    return path.join(this.data, `.s3-metadata-${side}`);
  }

  /** Byte by byte. */
  isSame(corpus: CorpusName): boolean {
    const folders = [path.join(this.data, 'source', corpus), path.join(this.data, 'target', TARGET_BUCKET)];
    const { status, stdout } = spawnSync('diff', ['-rq', '-x', '.sgwtmp', ...folders], { encoding: 'utf8' });
    if (status !== 0) console.error(stdout.slice(0, 500));
    return status === 0;
  }

  /** In the target's bucket: what a client began and neither completed nor aborted. */
  async unfinishedUploads(): Promise<number> {
    // versitygw keeps them here, one folder for each upload below one for each key.
    const folder = path.join(this.data, 'target', TARGET_BUCKET, '.sgwtmp', 'multipart');
    const keys = await readdir(folder).catch(() => []);
    const uploads = await Promise.all(keys.map((key) => readdir(path.join(folder, key))));
    return uploads.flat().length;
  }

  /** The same endpoints behind a line of 40 ms there and back. */
  async delayed(): Promise<Endpoints> {
    const port = await freePort();
    const api = `http://127.0.0.1:${port}`;
    const program = await goProgram({
      name: 'server',
      version: '2.12.0',
      module: 'github.com/Shopify/toxiproxy/v2/cmd/server',
      withoutGo: 'install Go.',
    });
    await launch({
      title: 'toxiproxy',
      command: program,
      args: ['-host', '127.0.0.1', '-port', String(port)],
      env: { ...process.env, LOG_LEVEL: 'error' },
      folder: await runFolder('toxiproxy'),
      isReady: async () => (await fetch(`${api}/version`)).ok,
      readyWithinMs: 10_000,
    });
    const before = async (name: string, endpoint: string) => {
      const listen = `127.0.0.1:${await freePort()}`;
      await post(`${api}/proxies`, { name, listen, upstream: new URL(endpoint).host, enabled: true });
      for (const stream of ['upstream', 'downstream']) {
        await post(`${api}/proxies/${name}/toxics`, { type: 'latency', stream, attributes: { latency: LATENCY_MS } });
      }
      return `http://${listen}`;
    };
    return {
      source: await before('source', this.endpoints.source),
      target: await before('target', this.endpoints.target),
    };
  }
}

async function post(url: string, body: unknown): Promise<void> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`toxiproxy refused: ${await answer.text()}`);
}

/** A disk would measure itself. Gone with the process, however it ends but by SIGKILL. */
export async function memoryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(process.platform === 'linux' ? '/dev/shm' : os.tmpdir(), 'snapferry-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Counts what clients send to a server. */
export class Wire {
  sent = 0;
  endpoint = '';
  private readonly server: net.Server;

  private constructor(to: URL) {
    this.server = net.createServer((client) => {
      const server = net.connect(Number(to.port), to.hostname);
      for (const socket of [client, server]) {
        socket.setNoDelay(true).on('error', () => {
          client.destroy();
          server.destroy();
        });
      }
      client.on('data', (chunk) => (this.sent += chunk.length));
      client.pipe(server).pipe(client);
    });
  }

  static async before(endpoint: string): Promise<Wire> {
    const wire = new Wire(new URL(endpoint));
    await new Promise<void>((resolve) => wire.server.listen(0, '127.0.0.1', resolve));
    wire.endpoint = `http://127.0.0.1:${(wire.server.address() as net.AddressInfo).port}`;
    return wire;
  }

  close(): void {
    this.server.close();
  }
}

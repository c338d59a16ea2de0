/**
 * A source and a target bucket on two OSS servers whose fault scripts strike what is copied between them: a repository
 * that a real node recorded, copied as `snapferry copy` does (`copy`) or by the steps of a round (`round`).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { MigrationError } from '../../src/domain/errors';
import { UnavailableError } from '../../src/domain/errors';
import { readManifest } from '../../src/repository';
import type { Manifest } from '../../src/repository';
import type { StepContext } from '../../src/steps/context';
import { copyUnit, readUnits } from '../../src/steps/copy-unit';
import type { StepDeps } from '../../src/steps/migration';
import { planSnapshot, runMirror } from '../../src/steps/mirror';
import type { MirrorProof } from '../../src/steps/mirror';
import { planTransfer } from '../../src/steps/plan';
import { preflight } from '../../src/steps/preflight';
import { publish } from '../../src/steps/publish';
import { resolveScope } from '../../src/steps/scope';
import { Engine, openOss } from '../../src/storage';
import type { OssOptions, Store } from '../../src/storage';
import { shareDirectory, startOss } from '../../stack';
import type { Fault, OssServer } from '../../stack';
import { reader, repositoryOf } from '../unit/repository/fixtures';
import type { Blobs } from '../unit/repository/fixtures';
import { indicesOf } from '../unit/steps/recorded';
import { aContext, anInput, World } from '../unit/steps/world';
import { newBucket, OSS_KEYS } from './oss';
import { recordSnapshots } from './recording';
import { UploadNotesInMemory } from './upload-notes';

const NEVER = new AbortController().signal;
const RECORDED = 'recorded';
const REGIONS = { source: OSS_KEYS.region, target: 'cn-shanghai' };
/** What hangs is given up soon, what drips is not. */
const TIMEOUTS = { connectMs: 2_000, idleMs: 1_000 };
/** The target takes temporary credentials only; the first token is used unless a test says otherwise. */
export const TOKENS = [{ token: 'planted-token-1' }, { token: 'planted-token-2' }] as const;
/**
 * A fault strikes four of them at most, and the one that interrupts an upload a few more: how many of its strikes an
 * attempt meets depends on which of its parts fails first. Of Temporal there are more, with pauses between them.
 */
const ATTEMPTS = 8;

export type Side = 'source' | 'target';
export type Faults = Readonly<Record<Side, readonly Fault[]>>;
const NONE: Faults = { source: [], target: [] };

export class FaultyStores {
  private constructor(
    private readonly root: string,
    readonly server: Readonly<Record<Side, OssServer>>,
    readonly snapshot: string,
    readonly blobs: Blobs,
    readonly manifest: Manifest,
  ) {}

  /** Both servers below `root`, which the node may write to. In two regions: none copies from the other by itself. */
  static async start(root: string, node: string): Promise<FaultyStores> {
    await shareDirectory(path.join(root, 'source', RECORDED));
    await mkdir(path.join(root, 'target'));
    const [, snapshot] = await recordSnapshots(node, path.join(root, 'source', RECORDED, 'from'));
    const [source, target] = await Promise.all([
      startOss({ ...OSS_KEYS, root: path.join(root, 'source'), region: REGIONS.source }),
      startOss({ ...OSS_KEYS, root: path.join(root, 'target'), region: REGIONS.target, sessionTokens: TOKENS }),
    ]);
    const blobs = filesBelow(path.join(root, 'source', RECORDED, 'from'));
    const manifest = await readManifest(await repositoryOf(blobs), snapshot, reader(blobs));
    return new FaultyStores(root, { source, target }, snapshot, blobs, manifest);
  }

  async stop(): Promise<void> {
    await Promise.all([this.server.source.stop(), this.server.target.stop()]);
  }

  /** The blob that is sent in parts. */
  get large(): string {
    return [...this.manifest.blobs].sort((a, b) => b.length - a.length)[0]!.key;
  }

  async setFaults(side: Side, ...faults: readonly Fault[]): Promise<void> {
    await this.server[side].setFaults(faults);
  }

  /** From the recorded bucket, or from a copy of it that may be damaged, to an empty one. */
  async journey(isOwnSource = false): Promise<Journey> {
    const to = newBucket(path.join(this.root, 'target'));
    if (!isOwnSource) return new Journey(this, RECORDED, to);
    const from = newBucket(path.join(this.root, 'source'));
    await cp(this.folder('source', RECORDED), this.folder('source', from), { recursive: true });
    return new Journey(this, from, to);
  }

  folder(side: Side, bucket: string): string {
    return path.join(this.root, side, bucket);
  }

  open(side: Side, bucket: string, more: Partial<OssOptions> = {}): Store {
    const { accessKeyId, secretAccessKey: accessKeySecret } = OSS_KEYS;
    const temporary = { accessKeyId, accessKeySecret, securityToken: TOKENS[0].token };
    return openOss({
      bucket,
      region: REGIONS[side],
      endpoint: this.server[side].endpoint,
      credentials: async () => (side === 'source' ? { accessKeyId, accessKeySecret } : temporary),
      timeouts: TIMEOUTS,
      ...more,
    });
  }
}

/** One copy of the snapshot into a bucket of its own. */
export class Journey {
  readonly source: { readonly store: Store; readonly basePath: string };
  readonly target: { readonly store: Store; readonly basePath: string };
  /** What was tried again, in order. */
  readonly retried: MigrationError[] = [];
  private readonly proofs = new Map<string, MirrorProof>();
  private readonly notes = new UploadNotesInMemory(this.proofs);

  constructor(
    readonly stores: FaultyStores,
    private readonly from: string,
    private readonly to: string,
    more: Partial<OssOptions> = {},
  ) {
    this.source = { store: stores.open('source', from), basePath: 'from' };
    this.target = { store: stores.open('target', to, more), basePath: 'to' };
  }

  /** Another worker's, of the same blobs, which reaches the target so. */
  again(more: Partial<OssOptions> = {}): Journey {
    return new Journey(this.stores, this.from, this.to, more);
  }

  /** As `snapferry copy --snapshot`, run again where it could not even begin. */
  async copy(faults: Faults = NONE): Promise<void> {
    const { source, target, proofs } = this;
    await this.arm(faults);
    const plan = await this.patiently(() => planSnapshot(source, target, this.stores.snapshot, proofs, NEVER));
    await runMirror(new Engine(), source, target, plan, {
      signal: NEVER,
      progress: () => undefined,
      proved: (proof) => proofs.set(proof.key, proof),
      uploads: this.notes,
      retrying: (error) => this.retried.push(error),
    });
  }

  /** The steps of a round, each repeated while it fails as unavailable, with what its last attempt told. */
  async round(faults: Faults = NONE, afterPlanning: () => void = () => undefined): Promise<void> {
    await this.arm(NONE);
    const { begun, ref } = await this.begin();
    await this.arm(faults);
    const { name, uuid } = this.stores.manifest.snapshot;
    const input = { ...ref, snapshot: name, snapshotUuid: uuid };
    const { pages } = await this.patiently((context) => planTransfer(begun, input, context));
    afterPlanning();
    for (let page = 0; page < pages; page += 1) {
      const units = await this.patiently((context) => readUnits(begun, { ...ref, page }, context));
      for (const { unit } of units) {
        await this.patiently((context) => copyUnit(begun, { ...ref, page, unit }, context));
      }
    }
    await this.patiently((context) => publish(begun, input, context));
  }

  /** Begins an upload that nobody goes on with, and notes it as a copy does that is killed then. */
  async leaveUpload(): Promise<void> {
    await this.stores.setFaults('target');
    const key = 'indices/left';
    const uploadId = await this.target.store.uploads.begin(`to/${key}`, NEVER);
    this.notes.note({ file: key, key, uploadId, partBytes: 0, parts: [] }, false);
  }

  async unfinished(): Promise<readonly object[] | undefined> {
    await this.stores.setFaults('target');
    return this.target.store.uploads.unfinished('', NEVER);
  }

  /** Keys of the manifest that the target lacks or holds with other bytes, by its files. */
  wrong(): string[] {
    return this.stores.manifest.blobs
      .map(({ key }) => key)
      .filter((key) => {
        const file = this.file('target', key);
        return !existsSync(file) || !readFileSync(file).equals(this.stores.blobs.get(key)!);
      });
  }

  /** Whether a cluster would find a repository in the target. */
  isPublished(): boolean {
    return filesIn(path.join(this.folder('target'), 'to')).some((name) => /^index[-.]/.test(name));
  }

  folder(side: Side): string {
    return this.stores.folder(side, side === 'source' ? this.from : this.to);
  }

  /** Of a blob, relative to the base path. */
  file(side: Side, key: string): string {
    return path.join(this.folder(side), side === 'source' ? 'from' : 'to', key);
  }

  private async arm({ source, target }: Faults): Promise<void> {
    await this.stores.setFaults('source', ...source);
    await this.stores.setFaults('target', ...target);
  }

  private async begin() {
    const world = new World();
    world.source.indexList.push(...indicesOf(this.stores.manifest));
    Object.assign(world.region, { s3: REGIONS.source, oss: REGIONS.target });
    const stores: Readonly<Record<string, Store>> = { s3: this.source.store, oss: this.target.store };
    const begun: StepDeps = { ...world.deps, store: (name) => stores[name]! };
    const indices = this.stores.manifest.indices.map(({ name }) => name);
    const { plan } = await preflight(begun, anInput({ indices }), aContext());
    const ref = { plan, round: 0, attempt: 1 };
    await resolveScope(begun, { ...ref, previous: undefined }, aContext());
    return { begun, ref };
  }

  private async patiently<T>(step: (context: StepContext) => Promise<T>): Promise<T> {
    let told: StepContext['resumed'];
    for (let attempt = 1; ; attempt += 1) {
      const context = aContext({ resumed: told });
      try {
        return await step(context);
      } catch (error) {
        if (!(error instanceof UnavailableError) || attempt === ATTEMPTS) throw error;
        this.retried.push(error);
        told = context.told.at(-1) ?? told;
      }
    }
  }
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function filesBelow(folder: string): Blobs {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => path.join(entry.parentPath, entry.name));
  return new Map(paths.map((file) => [path.relative(folder, file), readFileSync(file)]));
}

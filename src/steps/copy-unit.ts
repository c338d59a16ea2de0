import { BlobCorruptError, BlobMissingError } from '../domain/errors';
import type { CopyUnitInput, CopyUnitResult, ReadUnitsInput, UnitLabel } from '../domain/exchange';
import type { RoundKeys } from '../domain/names';
import { copyFile, crc32, noteOf, provedAsNoted, sendSaved, showCrc32 } from '../storage';
import type { BlobNote, BlobProof, CopyCursor, CopyTarget, Pace } from '../storage';
import type { StepContext } from './context';
import { readBytes, readJsonLines, requireJson, writeJsonLines } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { proofLine } from './proofs';
import type { ProofLine } from './proofs';
import type { TransferUnit, UnitFile } from './units';
import { noteUpload } from './uploads';

/** The units of one page, for the workflow: labels and counts only. */
export async function readUnits(deps: StepDeps, input: ReadUnitsInput, context: StepContext): Promise<UnitLabel[]> {
  const migration = await openMigration(deps, input.plan, context);
  const key = migration.keys.round(input.round, input.attempt).page(input.page);
  const units = await requireJson<UnitLabel[]>(migration.targetStore, key, context.signal);
  return units.map(({ unit, stage, phase, kind, label, blobs, bytes }) => {
    return { unit, stage, phase, kind, label, blobs, bytes };
  });
}

/**
 * Copies the files of one unit and proves each while it streams; ends by writing the proof file.
 *
 * Looks first: a proof file that is there was written after everything was in the store, so nothing is sent again.
 * An interrupted attempt goes on after the files that its heartbeats told of. Throws what `copyFile` throws.
 */
export async function copyUnit(deps: StepDeps, input: CopyUnitInput, context: StepContext): Promise<CopyUnitResult> {
  const migration = await openMigration(deps, input.plan, context);
  const round = migration.keys.round(input.round, input.attempt);
  const unit = await requireJson<TransferUnit>(migration.targetStore, round.unit(input.unit), context.signal);
  const done: CopyUnitResult = { blobs: unit.blobs, bytes: unit.bytes };
  const recorded = await readJsonLines<ProofLine>(migration.targetStore, round.proof(unit.unit), context.signal);
  if (recorded.length === unit.blobs) return done;
  const proofs = await new UnitCopy(deps, migration, round, unit, context).run();
  await writeJsonLines(migration.targetStore, round.proof(unit.unit), proofs, context.signal);
  return done;
}

/** A smaller file is sent again after a crash: that is two requests, and asking whether it is there would be one. */
const NOTED_FROM_BYTES = 64 * 1024;
/** In a unit that takes longer than this (a limit, a slow store) each file is worth a note. */
const ALL_NOTED_AFTER_MS = 30_000;

/** Heartbeat details: how far the unit has come, and what a successor needs to go on. */
interface UnitProgress extends Readonly<Record<string, unknown>> {
  readonly unit: number;
  readonly blobsDone: number;
  readonly bytesDone: number;
  /** By the file's place in the unit: about 35 bytes each. */
  readonly done: Readonly<Record<string, readonly BlobNote[]>>;
  /** Of the files that are under way in parts, by place. */
  readonly cursors: Readonly<Record<string, CopyCursor>>;
}

class UnitCopy {
  private readonly proofs = new Map<number, readonly BlobProof[]>();
  private readonly noted: Record<string, readonly BlobNote[]> = {};
  private readonly cursors: Record<string, CopyCursor>;
  private readonly began = performance.now();
  private isSlow = false;
  private blobsDone = 0;
  private readonly resumed: UnitProgress | undefined;
  private bytesDone = 0;

  constructor(
    private readonly deps: StepDeps,
    private readonly migration: Migration,
    private readonly round: RoundKeys,
    private readonly unit: TransferUnit,
    private readonly context: StepContext,
  ) {
    this.resumed = progressOf(context.resumed, unit.unit);
    this.cursors = { ...this.resumed?.cursors };
  }

  async run(): Promise<ProofLine[]> {
    const limited = { signal: this.context.signal, waiting: () => this.tell() };
    return this.deps.limits.during(this.migration, limited, (pace) => this.copyAll(pace));
  }

  private async copyAll(pace: Pick<Pace, 'take'>): Promise<ProofLine[]> {
    const { files } = this.unit;
    const { sourceStore: source, targetStore: target } = this.migration;
    for (const [from, some] of phasesOf(files)) {
      await this.deps.engine.inLanes(
        { source, target },
        some,
        bytesOf,
        this.context.signal,
        async (file, signal, n) => {
          const index = from + n;
          const proofs = (await this.doneBefore(file, index, signal)) ?? (await this.copy(file, index, pace, signal));
          this.proofs.set(index, proofs);
          delete this.cursors[index];
          this.note(file, index);
          this.blobsDone += proofs.length;
          this.tell();
        },
      );
    }
    return files.flatMap(({ blobs }, index) => blobs.map((blob, n) => proofLine(this.proofs.get(index)![n]!, blob)));
  }

  /** A heartbeat is a hint: it counts when the target still holds exactly what it tells of. */
  private async doneBefore(file: UnitFile, index: number, signal: AbortSignal): Promise<BlobProof[] | undefined> {
    const told = this.resumed?.done[index];
    if (told?.length !== file.blobs.length) return undefined;
    const proofs: BlobProof[] = [];
    for (const [n, blob] of file.blobs.entries()) {
      const proof = await provedAsNoted(this.target, blob, told[n]!, signal);
      if (proof === undefined) return undefined;
      proofs.push(proof);
    }
    this.bytesDone += bytesOf(file);
    return proofs;
  }

  private copy(
    file: UnitFile,
    index: number,
    pace: Pick<Pace, 'take'>,
    signal: AbortSignal,
  ): Promise<readonly BlobProof[]> {
    if (file.savedCrc32 !== undefined) return this.copySaved(file, pace, signal);
    return this.copyFromSource(file, index, pace, signal);
  }

  private copyFromSource(
    file: UnitFile,
    index: number,
    pace: Pick<Pace, 'take'>,
    signal: AbortSignal,
  ): Promise<BlobProof[]> {
    const { sourceStore, plan } = this.migration;
    const resume = this.cursors[index];
    return copyFile(
      this.deps.engine,
      { store: sourceStore, basePath: plan.repository.source.basePath },
      this.target,
      file,
      {
        signal,
        pace,
        ...(resume === undefined ? {} : { resume }),
        progress: (bytes) => {
          this.bytesDone += bytes;
        },
        onCursor: (cursor) => {
          this.cursors[index] = cursor;
          this.tell();
        },
        // What the last heartbeat did not tell yet.
        mayBeThere: ({ length }) => this.resumed !== undefined && length >= NOTED_FROM_BYTES,
        onUnlisted: (upload) => noteUpload(this.migration, upload, signal),
      },
    );
  }

  /** Metadata saved at planning: small, and the source may have deleted it since. */
  private async copySaved(file: UnitFile, pace: Pick<Pace, 'take'>, signal: AbortSignal): Promise<BlobProof[]> {
    const { targetStore } = this.migration;
    const blob = file.blobs[0]!;
    const saved = this.round.volatile(blob.key);
    const bytes = await readBytes(targetStore, saved, signal);
    const subject = { store: targetStore.description, key: saved };
    if (bytes === undefined) throw new BlobMissingError('Metadata that was saved at planning is gone', { subject });
    const crc = crc32(bytes);
    if (crc !== file.savedCrc32 || bytes.length !== blob.length) {
      throw new BlobCorruptError('Metadata that was saved at planning has changed', {
        subject: { ...subject, expected: showCrc32(file.savedCrc32!), actual: showCrc32(crc) },
      });
    }
    const progress = (sent: number) => {
      this.bytesDone += sent;
    };
    return [await sendSaved(pace, this.target, blob, bytes, { signal, progress })];
  }

  private get target(): CopyTarget {
    const { targetStore, plan } = this.migration;
    return { store: targetStore, basePath: plan.repository.target.basePath };
  }

  private tell(): void {
    const details: UnitProgress = {
      unit: this.unit.unit,
      blobsDone: this.blobsDone,
      bytesDone: this.bytesDone,
      // Only ever grows, with what is true already.
      done: this.noted,
      cursors: this.cursors,
    };
    this.context.progress(details);
  }

  private note(file: UnitFile, index: number): void {
    const wasSlow = this.isSlow;
    this.isSlow ||= performance.now() - this.began > ALL_NOTED_AFTER_MS;
    const isWorthIt = this.isSlow || bytesOf(file) >= NOTED_FROM_BYTES;
    // Those before are noted once, when it turns out to be slow.
    const places = this.isSlow && !wasSlow ? this.proofs.keys() : isWorthIt ? [index] : [];
    for (const place of places) this.noted[place] ??= this.proofs.get(place)!.map(noteOf);
  }
}

/** What an earlier attempt at this unit told last; undefined when it told nothing of use. */
function progressOf(resumed: StepContext['resumed'], unit: number): UnitProgress | undefined {
  if (resumed?.['unit'] !== unit || typeof resumed['done'] !== 'object' || resumed['done'] === null) return undefined;
  return resumed as UnitProgress;
}

/** The files of each phase, with the place of the first. */
function* phasesOf(files: readonly UnitFile[]): Generator<readonly [from: number, files: readonly UnitFile[]]> {
  const phaseOf = (place: number) => files[place]?.blobs[0]!.phase;
  for (let from = 0, to = 1; from < files.length; to += 1) {
    if (to < files.length && phaseOf(to) === phaseOf(from)) continue;
    yield [from, files.slice(from, to)];
    from = to;
  }
}

function bytesOf(file: UnitFile): number {
  return file.blobs.reduce((sum, { length }) => sum + length, 0);
}

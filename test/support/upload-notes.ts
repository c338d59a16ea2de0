import type { MirrorCursor, MirrorUploads } from '../../src/steps/mirror';

/** Uploads as the runs of one process remember them. */
export class UploadNotesInMemory implements MirrorUploads {
  readonly cursors = new Map<string, MirrorCursor>();
  /** Upload ids. */
  readonly heldByOthers = new Set<string>();
  /** Called before a note is kept: a kill may come then. */
  beforeNote: (cursor: MirrorCursor, isWhole: boolean) => void = () => undefined;

  constructor(private readonly proved: ReadonlyMap<string, unknown> = new Map()) {}

  cursorOf(file: string) {
    return this.cursors.get(file);
  }

  note(cursor: MirrorCursor, isWhole: boolean) {
    this.beforeNote(cursor, isWhole);
    this.cursors.set(cursor.file, structuredClone(cursor));
  }

  begun() {
    return [...this.cursors.values()].filter(({ uploadId }) => uploadId !== '');
  }

  isProved(key: string) {
    return this.proved.has(key);
  }

  isHeldByOther(uploadId: string) {
    return this.heldByOthers.has(uploadId);
  }
}

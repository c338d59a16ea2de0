/** What one store has shown of copying from another by itself. */
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  MigrationError,
  RepositoryChangedError,
} from '../domain/errors';
import type { Copier, Store } from './store';

/** In a row, and without a success: whatever it is, it does not pass. */
const ENOUGH_FAILURES = 3;

/** Whether a store copies from another, as far as it has shown. Asked once for all: 500 refusals teach no more than one. */
export class Route {
  #isProven = false;
  #isRefused = false;
  #failures = 0;
  #asking: Promise<void> | undefined;
  /** The store tells wrong checksums of blobs that it made of copied parts, and readers would refuse them. */
  #partsAreWrong = false;
  /** The source's store does not tell what its blobs sum up to. */
  isBlind = false;
  readonly #copier: Copier | undefined;

  /** `refused` is told once, with the reason, when the store turns out not to copy from there. */
  constructor(
    source: Store,
    target: Store,
    private readonly refused: (reason: MigrationError) => void,
  ) {
    this.#copier = target.copierFrom?.(source);
  }

  distrustParts(): void {
    this.#partsAreWrong = true;
  }

  /** Bytes of a blob that the store can copy; undefined where there is no bound. */
  get mostBytes(): number | undefined {
    return this.#partsAreWrong ? this.#copier?.maxBytes : undefined;
  }

  /** Whether it may be worth an attempt. */
  get isOpen(): boolean {
    return this.#copier !== undefined && !this.#isRefused;
  }

  /** Undefined where the store does not copy, or this blob could not be: then nothing is lost but time. */
  async attempt<T>(work: (copier: Copier) => Promise<T | undefined>): Promise<T | undefined> {
    while (this.#asking !== undefined) await this.#asking;
    if (this.#copier === undefined || this.#isRefused) return undefined;
    if (this.#isProven) return this.#try(this.#copier, work);
    const asked = this.#try(this.#copier, work);
    this.#asking = asked.then(
      () => undefined,
      () => undefined,
    );
    return asked.finally(() => (this.#asking = undefined));
  }

  async #try<T>(copier: Copier, work: (copier: Copier) => Promise<T | undefined>): Promise<T | undefined> {
    try {
      const result = await work(copier);
      if (result !== undefined) [this.#isProven, this.#failures] = [true, 0];
      return result;
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      // Of this blob alone, and whoever moves its bytes will find out whose fault it is.
      if ([BlobMissingError, BlobCorruptError, RepositoryChangedError].some((E) => error instanceof E))
        return undefined;
      this.#failures += 1;
      if (!isRefusal(error) && this.#failures < ENOUGH_FAILURES) return undefined;
      if (!this.#isRefused) this.refused(error);
      this.#isRefused = true;
      return undefined;
    }
  }
}

/** Not allowed (403), or no such call (405, 501). */
function isRefusal(error: MigrationError): boolean {
  return error instanceof ConfigurationError || [405, 501].includes(error.subject['status'] as number);
}

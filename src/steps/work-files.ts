import type { Writes } from '../domain/exchange';
import type { Tally } from '../domain/writes';
import type { AliasAction } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';

/** `scope.json` of a round: the concrete indices, as the source had them when the round began. */
export interface ScopeFile {
  readonly indices: readonly ScopedIndex[];
  /** Live ones of all indices, nested ones included. */
  readonly documents?: number;
  /** Of what joined in this round, sentences. */
  readonly warnings?: readonly string[];
}

export interface ScopedIndex {
  readonly name: string;
  readonly uuid: string;
  readonly shards: number;
  readonly replicas: number;
  readonly createdVersionId: number;
}

/** `excluded/<index>.json`: taken out of the running migration by `exclude`. */
export interface ExclusionFile {
  readonly index: string;
  readonly who: string;
  readonly why: string;
  readonly at: number;
}

/** `manifest.json` of a round: the manifest without its blobs, which lie beside it as JSON lines. */
export interface ManifestFile {
  readonly snapshot: { readonly name: string; readonly uuid: string; readonly versionId: number };
  readonly generation: number;
  readonly indices: readonly ManifestIndex[];
  readonly blobs: number;
  readonly bytes: number;
  /** Of the files that hold the blobs, in order. */
  readonly blobsDigests: readonly string[];
  /** Keys whose bytes are published from `volatile/` of the round. */
  readonly volatile: readonly string[];
  /** Every snapshot the source listed at planning; if one is gone at publishing, the plan is void. */
  readonly fence: readonly { readonly name: string; readonly uuid: string }[];
}

/** `record.json` of a freeze: written before the first block is sent, and all that undoing it needs. */
export interface FreezeRecord {
  readonly cluster: { readonly name: string; readonly uuid: string };
  readonly freeze: number;
  readonly deadline: number;
  readonly indices: readonly {
    readonly name: string;
    readonly uuid: string;
    /** Its owner had blocked writes before us: it stays blocked. */
    readonly blockedBefore: boolean;
    /** Names. Whoever writes through one that moves writes elsewhere from then on. */
    readonly aliases: readonly string[];
  }[];
}

/** `quiescence.json` of a freeze: counters per shard once no write could be in flight any more. */
export interface QuiescenceFile {
  readonly counters: Readonly<
    Record<
      string,
      readonly {
        readonly shard: number;
        readonly indexTotal: number;
        readonly deleteTotal: number;
        readonly maxSeqNo?: number;
      }[]
    >
  >;
}

/** `switch.json` of a freeze: the target's indices right before they took writes; `writes.json`, what they took since. */
export interface SwitchFile {
  readonly indices: readonly { readonly name: string; readonly uuid: string }[];
  readonly tally: Tally;
}

/** `aliases.json` of a freeze: the one call that takes back what the switchover did to aliases. */
export interface AliasesFile {
  readonly undo: readonly AliasAction[];
}

/** `settings.json` of a freeze: what `keepSettings` changes on the target. */
export interface SettingsFile {
  readonly indices: readonly ChangedSettings[];
}

/** Of one index on the target; null where there is no such setting. */
export interface ChangedSettings {
  readonly name: string;
  readonly uuid: string;
  readonly was: Readonly<Record<string, string | readonly string[] | null>>;
  readonly set: Readonly<Record<string, string | readonly string[] | null>>;
}

/** `target-block.json` of a freeze: what its rollbacks block on the target. Written once, before the first block. */
export interface TargetBlockFile {
  readonly indices: readonly { readonly name: string; readonly uuid: string }[];
}

/**
 * `rollback.json` of a freeze, whose first word stands. The rollback itself writes it before the aliases go back, and
 * `snapferry unfreeze` before it opens the target again: from then on no rollback can be decided any more.
 */
export type RollbackFile =
  | { readonly accepted: Writes; readonly who: string; readonly why: string }
  | { readonly accepted?: undefined; readonly reopenedBy: string };

/** `owner.json` of a target location or index. Created once and never rewritten: a late attempt takes no claim back. */
export interface OwnerFile {
  readonly migration: string;
  readonly firstRunId: string;
}

/** `restored/<index>.json` of the migration that claims the target index. */
export interface RestoredFile {
  /** Uuids that we restored. */
  readonly uuids?: readonly string[];
  /** Of a target index, where aliases follow the source in every round: those that we gave it. */
  readonly aliases?: readonly string[];
  /** The snapshot whose restore into this index was requested last: recorded before the request. */
  readonly restoring?: { readonly repository: string; readonly snapshot: string };
  /** Taken over from another migration, and not restored by this one since: its round is the other's. */
  readonly adopted?: true;
}

/** Whose a target index is, with what its owner has recorded of it. */
export type IndexOwner = OwnerFile & RestoredFile;

/** `left/<snapshot>.json`: the target right after the restore of that snapshot. */
export interface LeftFile {
  readonly indices: Readonly<Record<string, LeftIndex>>;
}

export interface LeftIndex {
  readonly uuid: string;
  readonly shards: readonly {
    readonly shard: number;
    readonly docs: number;
    /** Absent before 6.0. */
    readonly maxSeqNo?: number;
  }[];
}

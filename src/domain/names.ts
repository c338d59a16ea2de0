/**
 * Every name we mint, in one place: snapshots, registrations, and the keys of work files and evidence.
 * Keys are relative to the root of the target store.
 */

/** `snapferry-<12 hex>-r<round>-a<attempt>`. `token` is fresh for every request, so an old snapshot is never taken for a new one. */
export function snapshotName(token: string, round: number, attempt: number): string {
  return `snapferry-${token}-r${round}-a${attempt}`;
}

/** The registration that a migration creates for itself in a cluster. */
export function registrationName(firstRunId: string): string {
  return `snapferry-${firstRunId.replace(/-/g, '').slice(0, 12)}`;
}

/** The one that preflight makes, and removes, to see whether it works. */
export function probeRegistrationName(firstRunId: string): string {
  return `${registrationName(firstRunId)}-probe`;
}

/** Below it preflight lays, for a moment, what the target's cluster is to find. The same for every run: policies name it. */
export function probesFolder(work: string): string {
  return `${work}/probes`;
}

/** `<migration>/freeze-<n>`: the lease's workflow id. */
export function leaseWorkflowId(migration: string, freeze: number): string {
  return `${migration}/freeze-${freeze}`;
}

/** `<migration>/round-<n>-a<attempt>`: the transfer's workflow id. */
export function transferWorkflowId(migration: string, round: number, attempt: number): string {
  return `${migration}/round-${round}-a${attempt}`;
}

const padded = (n: number) => String(n).padStart(4, '0');

/** A key below a base path, which may be empty. */
export function below(basePath: string, key: string): string {
  return basePath === '' ? key : `${basePath}/${key}`;
}

/** File systems take no name over 255 bytes, and `.json` follows. */
const LONGEST_PART = 200;

/**
 * A name of somebody else's as part of a key: encoded, and in several folders where it is long (an index name of 255
 * bytes becomes 765). The `+` that begins the later ones stands in no encoded name, so no two names meet.
 */
export function nameInKey(name: string): string {
  return (encodeURIComponent(name).match(new RegExp(`.{1,${LONGEST_PART}}`, 'g')) ?? ['']).join('/+');
}

/** The name that {@link nameInKey} was given. */
export function nameFromKey(part: string): string {
  return decodeURIComponent(part.replaceAll('/+', ''));
}

/** Keys of the files one migration keeps below `<work>/<first run id>`. */
export class WorkKeys {
  constructor(readonly prefix: string) {}

  static of(work: string, firstRunId: string): WorkKeys {
    return new WorkKeys(`${work}/${firstRunId}`);
  }

  get plan(): string {
    return `${this.prefix}/plan.json`;
  }
  /** The limits that the last `set-limits` gave; absent while the plan's hold. */
  get limits(): string {
    return `${this.prefix}/limits.json`;
  }
  /** Notes of uploads that the target store does not list. */
  get uploads(): string {
    return `${this.prefix}/uploads/`;
  }
  upload(name: string): string {
    return `${this.uploads}${name}.json`;
  }
  get report(): string {
    return `${this.prefix}/report.json`;
  }
  /** One file for each migration that began to end this one's cutover. */
  get successors(): string {
    return `${this.prefix}/successors/`;
  }
  /** `undo/<name>.json`: the old value of a thing we changed and put back at the end. */
  registration(cluster: string, name: string): string {
    return `${this.prefix}/registrations/${cluster}-${name}.json`;
  }
  round(round: number, attempt: number): RoundKeys {
    return new RoundKeys(`${this.prefix}/round-${padded(round)}-a${attempt}`);
  }
  /** All rounds share this prefix, so that one listing finds every proof. */
  get rounds(): string {
    return `${this.prefix}/round-`;
  }
  /** The target as the restore of that snapshot has left it. */
  left(snapshot: string): string {
    return `${this.prefix}/left/${snapshot}.json`;
  }
  /** Which indices of that name on the target came from our restores. */
  restored(index: string): string {
    return `${this.prefix}/restored/${nameInKey(index)}.json`;
  }
  /** One file for each index that `exclude` took out. */
  get exclusions(): string {
    return `${this.prefix}/excluded/`;
  }
  exclusion(index: string): string {
    return `${this.exclusions}${nameInKey(index)}.json`;
  }
  /** One file for each snapshot that was ever asked for, named as it. */
  get snapshots(): string {
    return `${this.prefix}/snapshots/`;
  }
  snapshot(name: string): string {
    return `${this.snapshots}${nameInKey(name)}.json`;
  }
  freeze(freeze: number): FreezeKeys {
    return new FreezeKeys(`${this.prefix}/freeze-${padded(freeze)}`);
  }
}

/** Files of one attempt at one round. */
export class RoundKeys {
  constructor(readonly prefix: string) {}
  get scope(): string {
    return `${this.prefix}/scope.json`;
  }
  /** One JSON object: the manifest without its blobs. */
  get manifest(): string {
    return `${this.prefix}/manifest.json`;
  }
  /** One JSON line per blob, so many files of them as the manifest says. */
  blobs(piece: number): string {
    return `${this.prefix}/blobs/${padded(piece)}.jsonl`;
  }
  /** Bytes that are published from here, because the source may delete them. */
  volatile(key: string): string {
    return `${this.prefix}/volatile/${key}`;
  }
  /** Labels of up to 100 units. */
  page(page: number): string {
    return `${this.prefix}/pages/${padded(page)}.json`;
  }
  /** What one activity copies. */
  unit(unit: number): string {
    return `${this.prefix}/units/${padded(unit)}.json`;
  }
  proof(unit: number): string {
    return `${this.prefix}/proofs/${padded(unit)}.jsonl`;
  }
  get ledger(): string {
    return `${this.prefix}/ledger.json`;
  }
  /** What verification compares that is true only right after the restore. */
  get fingerprints(): string {
    return `${this.prefix}/fingerprints.json`;
  }
  /** What one slice of one verification has shown, so that a successor need not read it again. */
  slice(pass: string, slice: number): string {
    return `${this.prefix}/contents-${pass}/${padded(slice)}.json`;
  }
}

/** Files of one freeze. */
export class FreezeKeys {
  constructor(readonly prefix: string) {}
  /** Written before the first block is sent; what `unfreeze` undoes. */
  get record(): string {
    return `${this.prefix}/record.json`;
  }
  get quiescence(): string {
    return `${this.prefix}/quiescence.json`;
  }
  /** The target right before it was opened, where the plan watches it. */
  get switch(): string {
    return `${this.prefix}/switch.json`;
  }
  /** What was written there since. */
  get writes(): string {
    return `${this.prefix}/writes.json`;
  }
  /** What takes the aliases of the switchover back. */
  get aliases(): string {
    return `${this.prefix}/aliases.json`;
  }
  /** What takes the settings back that the plan keeps. */
  get settings(): string {
    return `${this.prefix}/settings.json`;
  }
  /** What a rollback blocks on the target; written before it does. */
  get targetBlock(): string {
    return `${this.prefix}/target-block.json`;
  }
  /** From here on the target is never opened again, or no rollback is decided any more. */
  get rollback(): string {
    return `${this.prefix}/rollback.json`;
  }
  /** `committed` or `released`, written by the lease at its end. */
  get outcome(): string {
    return `${this.prefix}/outcome.json`;
  }
}

/** Who may publish to a target location. Lies in the work prefix: the location itself holds a repository and nothing else. */
export function locationOwnerKey(work: string, basePath: string): string {
  return `${work}/owners/location/${nameInKey(basePath)}/owner.json`;
}

/** Who may restore over, close and unblock a target index. */
export function indexOwnerKey(work: string, clusterUuid: string, index: string): string {
  return `${work}/owners/index/${clusterUuid}/${nameInKey(index)}/owner.json`;
}

// What `npm run stack` was asked for. Pure: words in, parts out, or a UsageError.

export class UsageError extends Error {}

export type Part =
  | { readonly kind: 'temporal'; readonly port?: number; readonly uiPort?: number; readonly dbFile?: string }
  | {
      readonly kind: 'elasticsearch' | 'opensearch';
      readonly version: string;
      readonly port?: number;
      readonly pathRepo: string[];
    }
  | {
      readonly kind: 'amazon-elasticsearch' | 'alibaba-elasticsearch';
      readonly version: string;
      readonly port?: number;
    }
  | {
      readonly kind: 's3';
      readonly root?: string;
      readonly port?: number;
      readonly accessKeyId: string;
      readonly secretAccessKey: string;
    }
  | {
      readonly kind: 'oss';
      readonly root?: string;
      readonly port?: number;
      readonly controlPort?: number;
      readonly accessKeyId: string;
      readonly secretAccessKey: string;
      readonly region: string;
    };

export interface Request {
  readonly help: boolean;
  readonly parts: readonly Part[];
  /** Where buckets and repositories lie when a part names no folder of its own. */
  readonly root: string | undefined;
}

export const USAGE = `Starts real servers on this machine, without Docker, until Ctrl-C.

  npm run stack                          a stack to try on: temporal, elasticsearch 5.5.2 and 5.6.16, s3
  npm run stack -- [--root DIR] PART [OPTIONS] [PART [OPTIONS]]...

Parts, each followed by its own options:
  temporal                               dev server with Web UI
      --port PORT --ui-port PORT --db FILE
  elasticsearch:VERSION                  a node and cluster of its own; may be given several times
  opensearch:VERSION                     likewise
      --version VERSION --port PORT --path-repo DIR (repeat it for more than one)
  amazon-elasticsearch:VERSION           a node behind what refuses as Amazon's service does (docs/stand-ins.md)
  alibaba-elasticsearch:VERSION          a node behind what refuses as Alibaba Cloud's service does
      --version VERSION --port PORT
  s3                                     versitygw: each folder of its root is a bucket
      --root DIR --port PORT --access-key-id ID --access-key-secret SECRET
  oss                                    our OSS server (signature V4): each folder of its root is a bucket
      --root DIR --port PORT --access-key-id ID --access-key-secret SECRET --region REGION (cn-hangzhou)
      --control-port PORT                where POST /__faults makes requests fail (docs/oss-server.md)

  --root DIR   before the first part: the folder of the buckets, where nodes may also keep repositories.
               Without it, buckets and indices are thrown away at the end.
Ports are free ones unless given, and are printed. What is missing is installed once into SNAPFERRY_CACHE
(~/.cache/snapferry); that needs go for temporal and s3, mvn and java (17) for nodes. Elasticsearch 9.x and OpenSearch
3.x want Java 21: where the machine's own is older, pip installs one.
A temporal on the PATH or in TEMPORAL_BIN is used instead of installing one.`;

const OPTIONS = {
  temporal: ['--port', '--ui-port', '--db'],
  elasticsearch: ['--version', '--port', '--path-repo'],
  opensearch: ['--version', '--port', '--path-repo'],
  'amazon-elasticsearch': ['--version', '--port'],
  'alibaba-elasticsearch': ['--version', '--port'],
  s3: ['--root', '--port', '--access-key-id', '--access-key-secret'],
  oss: ['--root', '--port', '--access-key-id', '--access-key-secret', '--region', '--control-port'],
} as const;
type Kind = keyof typeof OPTIONS;

const DEMO = ['temporal', 'elasticsearch:5.5.2', 'elasticsearch:5.6.16', 's3'];

/** Words that belong together: a part as it was written, and the values of its options. */
interface Group {
  readonly word: string;
  readonly options: Map<string, string[]>;
}

/** Throws UsageError with one clear line. */
export function parseArguments(words: readonly string[]): Request {
  if (words.some((word) => word === '--help' || word === '-h')) return { help: true, parts: [], root: undefined };
  const [general, ...groups] = group(words);
  refuseUnknown(general, 'the stack', ['--root']);
  const chosen = groups.length > 0 ? groups : DEMO.map((word) => ({ word, options: new Map<string, string[]>() }));
  return { help: false, parts: chosen.map(toPart), root: one(general, '--root') };
}

/** The first group holds what stands before any part. */
function group(words: readonly string[]): [Group, ...Group[]] {
  const groups: [Group, ...Group[]] = [{ word: '', options: new Map() }];
  const rest = words.flatMap((word) => (/^--[^=]+=/.test(word) ? splitOnce(word) : [word]));
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (!word.startsWith('-')) {
      groups.push({ word, options: new Map() });
      continue;
    }
    const value = rest.shift();
    if (value === undefined || value.startsWith('--')) throw new UsageError(`${word} needs a value.`);
    const { options } = groups[groups.length - 1] ?? groups[0];
    options.set(word, [...(options.get(word) ?? []), value]);
  }
  return groups;
}

function splitOnce(word: string): string[] {
  const at = word.indexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
}

function toPart(given: Group): Part {
  const [kind = '', version] = given.word.split(':', 2);
  if (!isKind(kind) || (version !== undefined && !hasVersion(kind))) {
    const parts = (Object.keys(OPTIONS) as Kind[]).map((one) => (hasVersion(one) ? `${one}:VERSION` : one));
    throw new UsageError(`"${given.word}" is not a part; parts are ${parts.join(', ')}.`);
  }
  refuseUnknown(given, kind, OPTIONS[kind]);
  switch (kind) {
    case 'temporal':
      return { kind, port: port(given, '--port'), uiPort: port(given, '--ui-port'), dbFile: one(given, '--db') };
    case 'elasticsearch':
    case 'opensearch':
      return {
        kind,
        version: checkedVersion(kind, version ?? one(given, '--version')),
        port: port(given, '--port'),
        pathRepo: given.options.get('--path-repo') ?? [],
      };
    case 'amazon-elasticsearch':
    case 'alibaba-elasticsearch':
      return { kind, version: checkedVersion(kind, version ?? one(given, '--version')), port: port(given, '--port') };
    case 's3':
      return { kind, ...bucketServer(given) };
    case 'oss':
      return {
        kind,
        ...bucketServer(given),
        controlPort: port(given, '--control-port'),
        region: one(given, '--region') ?? 'cn-hangzhou',
      };
  }
}

function bucketServer(given: Group) {
  return {
    root: one(given, '--root'),
    port: port(given, '--port'),
    accessKeyId: one(given, '--access-key-id') ?? 'snapferry',
    secretAccessKey: one(given, '--access-key-secret') ?? 'snapferry-secret',
  };
}

function isKind(word: string): word is Kind {
  return word in OPTIONS;
}

function hasVersion(kind: Kind): boolean {
  return (OPTIONS[kind] as readonly string[]).includes('--version');
}

function refuseUnknown(given: Group, owner: string, known: readonly string[]): void {
  const unknown = [...given.options.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UsageError(`${unknown} is not an option of ${owner}.`);
}

function one(given: Group, name: string): string | undefined {
  const values = given.options.get(name) ?? [];
  if (values.length > 1) throw new UsageError(`${name} is given ${values.length} times.`);
  return values[0];
}

function port(given: Group, name: string): number | undefined {
  const word = one(given, name);
  if (word === undefined) return undefined;
  const value = Number(word);
  if (!Number.isInteger(value) || value < 1 || value > 65_535) throw new UsageError(`${name} ${word} is not a port.`);
  return value;
}

function checkedVersion(kind: Kind, version: string | undefined): string {
  const example = kind === 'opensearch' ? '2.19.1' : '5.5.2';
  if (version === undefined) throw new UsageError(`${kind} needs a version, as ${kind}:${example}.`);
  if (!/^\d+\.\d+\.\d+$/.test(version)) throw new UsageError(`"${version}" is not a version like ${example}.`);
  return version;
}

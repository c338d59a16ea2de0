// A node's jvm.options, as text. Pure.

export interface Jvm {
  /** Elasticsearch's major version. */
  readonly major: number;
  readonly heapMb: number;
  readonly temporary: string;
  /** Come last, so they win. */
  readonly extra: readonly string[];
}

/** For 5.x and 6.x, whose own options name a collector that Java 17 does not have. */
const BEFORE_7 = [
  '-XX:+UseG1GC',
  '-Dfile.encoding=UTF-8',
  '-Dio.netty.noUnsafe=true',
  '-Dio.netty.noKeySetOptimization=true',
  '-Dlog4j.shutdownHookEnabled=false',
  '-Dlog4j2.disable.jmx=true',
  '-Dlog4j2.formatMsgNoLookups=true',
  '-Dlog4j.skipJansi=true',
  '--add-opens=java.base/java.io=ALL-UNNAMED',
  '--add-opens=java.base/java.lang=ALL-UNNAMED',
  '--add-opens=java.base/java.nio=ALL-UNNAMED',
  '--add-opens=java.base/sun.nio.ch=ALL-UNNAMED',
  '-Djava.security.manager=allow',
];

/** A node starts in two thirds of the time; one that runs for long would be faster with the second compiler. */
const FAST_START = '-XX:TieredStopAtLevel=1';

/** These write beside the unpacked zip, where the node's user may not: it would not start. */
const WRITES_INTO_HOME = /gc\.log|hs_err|HeapDump|PrintGC|Xloggc|GCLogFile/;
/** For speed only, and not in every runtime: one that lacks it would not start. */
const SPARED_MODULE = /jdk\.incubator\.vector/;

/** What the version shipped where Java 17 takes it, else our own list; heap and temporary folder are always ours. */
export function jvmOptions(shipped: string, jvm: Jvm): string {
  const base =
    jvm.major < 7
      ? BEFORE_7
      : shipped.split('\n').filter((line) => !WRITES_INTO_HOME.test(line) && !SPARED_MODULE.test(line));
  const own = [FAST_START, `-Xms${jvm.heapMb}m`, `-Xmx${jvm.heapMb}m`, `-Djava.io.tmpdir=${jvm.temporary}`];
  return [...base, ...own, ...jvm.extra, ''].join('\n');
}

import { UnavailableError, WritesNotBlockedError } from '../domain/errors';
import { writeTasks } from './answers';
import type { TasksAnswer } from './answers';
import type { WriteTask } from './cluster';
import { isUnsupported } from './failures';
import { PROMPT_MS } from './http';
import type { Call, Http } from './http';
import { nameGroups } from './paths';

/** The two calls on which a freeze rests. See `Cluster.addWriteBlock`; the version was checked by the caller. */
export async function addWriteBlock(
  http: Http,
  names: readonly string[],
  signal: AbortSignal,
): Promise<'blocked' | 'unsupported'> {
  for (const [position, { path, names: group }] of nameGroups(names).entries()) {
    const call: Call = { method: 'PUT', path: `/${path}/_block/write`, timeoutMs: PROMPT_MS };
    const attempt = await http.attempt<BlockAnswer>(call, signal);
    if (attempt.ok) requireBlocked(http, call, attempt.body, group);
    else if (!isUnsupported(attempt.refusal)) throw attempt.error;
    else if (position === 0) return 'unsupported';
    else throw refusedHalfway(http, call, attempt.error);
  }
  return 'blocked';
}

interface BlockAnswer {
  readonly acknowledged?: boolean;
  readonly shards_acknowledged?: boolean;
  readonly indices?: readonly { readonly name: string; readonly blocked?: boolean }[];
}

/**
 * `acknowledged` alone speaks of the cluster's state; only every shard's word means that no write is in flight. An index
 * that this call blocked before is left out of the answer (7.10.2, 8.19.0; 7.10.2 also leaves out one that was blocked by
 * settings): whether its writes drained is not said, so it counts as not blocked here.
 */
function requireBlocked(http: Http, call: Call, answer: BlockAnswer, names: readonly string[]): void {
  const blocked = new Set(answer.indices?.filter((index) => index.blocked === true).map((index) => index.name));
  const open = names.filter((name) => !blocked.has(name));
  if (answer.acknowledged === true && answer.shards_acknowledged === true && open.length === 0) return;
  throw new WritesNotBlockedError(
    'Not every shard acknowledged the write block, so that writes may be in flight: undo it and block again',
    { subject: { ...http.subject(call), indices: open.slice(0, 5).join(',') || undefined } },
  );
}

function refusedHalfway(http: Http, call: Call, cause: unknown): WritesNotBlockedError {
  return new WritesNotBlockedError(
    'The cluster blocked some of the indices, and refuses the same call for others: undo the blocks',
    { subject: http.subject(call), cause },
  );
}

/** See `Cluster.writeTasks`. A node that does not answer may hide the one task that matters. */
export async function readWriteTasks(http: Http, signal: AbortSignal): Promise<readonly WriteTask[] | 'unsupported'> {
  const path = '/_tasks?actions=indices:data/write*&detailed=true';
  const call: Call = { method: 'GET', path, timeoutMs: PROMPT_MS };
  const attempt = await http.attempt<TasksAnswer>(call, signal);
  if (!attempt.ok) {
    if (isUnsupported(attempt.refusal)) return 'unsupported';
    throw attempt.error;
  }
  const silent = (attempt.body.node_failures?.length ?? 0) + (attempt.body.task_failures?.length ?? 0);
  if (silent === 0) return writeTasks(attempt.body);
  throw new UnavailableError(`${silent} nodes or tasks do not answer which writes are in flight`, {
    subject: http.subject(call),
  });
}

import type { EventInput } from '../domain/exchange';
import { callWebhook } from '../net/webhook';
import type { StepContext } from './context';
import { openMigration, refuseOtherConnections } from './migration';
import type { Migration, StepDeps } from './migration';

/**
 * Tells a webhook of the plan what happens: `cutover.switchover.webhook` of `switchover` and `switchback`, `notify` of
 * all else. May run twice: the key is the same. Does nothing where the plan names none. Throws what `callWebhook` throws.
 */
export async function notify(deps: StepDeps, input: EventInput, context: StepContext): Promise<void> {
  const migration = await openMigration(deps, input.plan, context);
  const { plan, fingerprints } = migration;
  const name = isSwitch(input.event) ? plan.cutover.switchover.webhook : plan.notify;
  if (name === undefined) return;
  refuseOtherConnections(deps.config, { webhooks: { [name]: fingerprints.webhooks[name] ?? '' } });
  await callWebhook(deps.config.webhook(name), { id: idOf(input), body: bodyOf(migration, input) }, context.signal);
}

const isSwitch = (event: EventInput['event']) => event === 'switchover' || event === 'switchback';

/** Of a switchover there is one a freeze; of all else as many as there are moments. */
function idOf({ plan, event, at, freeze }: EventInput): string {
  return `${plan.firstRunId}/${event}/${isSwitch(event) ? freeze : at}`;
}

function bodyOf(
  { plan, migration }: Migration,
  { event, at, freeze, deadline, step, code, outcome }: EventInput,
): object {
  return {
    event,
    at: new Date(at).toISOString(),
    migration,
    source: plan.source,
    target: plan.target,
    freeze,
    deadline: deadline === undefined ? undefined : new Date(deadline).toISOString(),
    step,
    code,
    outcome,
  };
}

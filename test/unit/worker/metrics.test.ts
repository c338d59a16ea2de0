import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import type { MetricMeter } from '@temporalio/common';
import { parse } from 'yaml';
import { Gauges } from '../../../worker/metrics';

const NOW = 1_700_000_000_000;

/** Running workflows by id: what they answer to `status`, or the error that they answer with. */
type Running = Record<string, { readonly type: string; readonly status: object | Error }>;

function aServer(running: Running): Client['workflow'] {
  const client = {
    async *list() {
      for (const [workflowId, { type }] of Object.entries(running)) yield { workflowId, type };
    },
    getHandle: (id: string) => ({
      query: async () => {
        const status = running[id]?.status;
        if (status instanceof Error) throw status;
        return status;
      },
    }),
  };
  return client as unknown as Client['workflow'];
}

/** The last value of each series, as `name migration`. */
function aMeter() {
  const values: Record<string, number> = {};
  const createGauge = (name: string) => ({
    set: (value: number, { migration }: { migration: string }) => void (values[`${name} ${migration}`] = value),
  });
  return { meter: { createGauge } as unknown as MetricMeter, values };
}

const running: Running = {};
const { meter, values } = aMeter();
const gauges = new Gauges(aServer(running), 'snapferry', meter);
const seen = async (now: Running) => {
  for (const id of Object.keys(running)) delete running[id];
  Object.assign(running, now);
  await gauges.look(NOW);
  return { ...values };
};
const migration = (status: object | Error) => ({ type: 'migrate', status });
const lease = (firstBlockAt?: number) => ({ type: 'freeze', status: { deadline: NOW + 90_000, firstBlockAt } });

test('a migration is told from its own words, and its freeze from the lease', async () => {
  const all = await seen({
    a: migration({ phase: 'parked' }),
    b: migration({ phase: 'cutover' }),
    'b/freeze-1': lease(NOW - 30_000),
    'b/round-3-a1': { type: 'transfer', status: new Error('not asked') },
  });
  expect(all).toEqual({
    'snapferry_parked a': 1,
    'snapferry_frozen_seconds a': 0,
    'snapferry_freeze_deadline_seconds a': 0,
    'snapferry_parked b': 0,
    'snapferry_frozen_seconds b': 30,
    'snapferry_freeze_deadline_seconds b': 90,
  });
});

test('a lease whose migration was terminated is told all the same', async () => {
  const told = { 'snapferry_frozen_seconds b': 30, 'snapferry_freeze_deadline_seconds b': 90 };
  expect(await seen({ 'b/freeze-1': lease(NOW - 30_000) })).toMatchObject(told);
});

test('what does not answer stands as it was, and holds up nobody', async () => {
  const all = await seen({
    'b/freeze-1': { type: 'freeze', status: new Error('busy') },
    a: migration({ phase: 'round' }),
  });
  expect(all).toMatchObject({ 'snapferry_frozen_seconds b': 30, 'snapferry_parked a': 0 });
});

test('what has ended is told as zero', async () => {
  expect(new Set(Object.values(await seen({})))).toEqual(new Set([0]));
});

test('the alert rules name metrics that there are', () => {
  const text = readFileSync(path.join(__dirname, '../../../docs/alerts.yaml'), 'utf8');
  const { groups } = parse(text) as { groups: { rules: { expr: string }[] }[] };
  const named = groups.flatMap(({ rules }) => rules.flatMap(({ expr }) => expr.match(/snapferry_\w+/g) ?? []));
  const known = new Set(Object.keys(values).map((series) => series.split(' ')[0]));
  expect(new Set(named)).toEqual(known);
});

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { compatibilityPage } from './compatibility-page';
import { connectionsSchema } from './config';
import { planSchema } from './domain/plan';

/**
 * The JSON Schemas that editors check plans and connections files with, from the same source as the programs' own
 * check. They know the form; what depends on several fields only the programs refuse.
 */
export function schemas(): Readonly<Record<string, unknown>> {
  return {
    'plan.schema.json': { title: 'snapferry: a plan', ...jsonSchema(planSchema) },
    'connections.schema.json': {
      title: "snapferry: the worker's connections file",
      ...jsonSchema(connectionsSchema()),
    },
  };
}

/** What people write, not what the programs make of it. */
function jsonSchema(schema: z.ZodType): object {
  return z.toJSONSchema(schema, { io: 'input' });
}

/** The text of a schema file. */
export function schemaText(schema: unknown): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** `npm run schemas`, from the root of a checkout: what is made from the code, and docs/compatibility.md too. */
if (require.main === module) {
  mkdirSync('schemas', { recursive: true });
  writeFileSync(path.join('docs', 'compatibility.md'), compatibilityPage());
  for (const [file, schema] of Object.entries(schemas())) writeFileSync(path.join('schemas', file), schemaText(schema));
}

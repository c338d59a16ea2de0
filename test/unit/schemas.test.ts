import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Ajv2020 from 'ajv/dist/2020';
import { parse } from 'yaml';
import { compatibilityPage } from '../../src/compatibility-page';
import { parsePlan } from '../../src/domain/plan';
import { schemas, schemaText } from '../../src/schemas';

const root = path.join(__dirname, '../..');
const text = (file: string) => readFileSync(path.join(root, file), 'utf8');
const json = (file: string): unknown => JSON.parse(text(file));

function faultsOf(schema: string, value: unknown) {
  const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });
  const validate = ajv.compile(json(`schemas/${schema}`) as object);
  return validate(value) ? [] : validate.errors;
}

const plans = readdirSync(path.join(root, 'examples')).filter((file) => file.endsWith('.json'));

describe('the shipped JSON Schemas', () => {
  it.each(Object.entries(schemas()))('%s is what the code says: run npm run schemas', (file, schema) => {
    expect(text(`schemas/${file}`)).toBe(schemaText(schema));
  });

  it('docs/compatibility.md is what the table says: run npm run schemas', () => {
    expect(text('docs/compatibility.md')).toBe(compatibilityPage());
  });

  it('there are examples to hold them against', () => {
    expect(plans).toContain('amazon-to-alibaba.json');
  });

  it.each(plans)('examples/%s is a plan, for the schema and for the program', (file) => {
    expect(faultsOf('plan.schema.json', json(`examples/${file}`))).toEqual([]);
    expect(() => parsePlan(json(`examples/${file}`))).not.toThrow();
  });

  it('examples/connections.yaml is a connections file', () => {
    expect(faultsOf('connections.schema.json', parse(text('examples/connections.yaml')))).toEqual([]);
  });

  it('refuse unknown keys, missing fields and literal secrets', () => {
    expect(
      faultsOf('plan.schema.json', { ...(json('examples/amazon-to-alibaba.json') as object), colour: 'red' }),
    ).toHaveLength(1);
    expect(faultsOf('plan.schema.json', {})).toHaveLength(4);
    const literal = { type: 'basic', username: 'u', password: 'hunter2' };
    expect(faultsOf('connections.schema.json', { clusters: { a: { url: 'http://a', auth: literal } } })).not.toEqual(
      [],
    );
  });
});

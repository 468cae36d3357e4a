import { expect, test } from 'vitest';
import { byName } from './fields';

const field = (name: string, label: boolean, types: string[], count: number) => ({
  name,
  label,
  types,
  count,
});

test('a name that is a label here and a field there is one, with the records of both', () => {
  const fields = [
    field('status', false, ['int'], 9),
    field('host', true, ['text'], 8),
    field('app', false, ['text'], 8),
    field('host', false, ['int', 'text'], 3),
  ];
  expect(byName(fields)).toEqual([
    field('host', true, ['text', 'int'], 11),
    field('status', false, ['int'], 9),
    field('app', false, ['text'], 8),
  ]);
});

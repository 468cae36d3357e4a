import { expect, test } from 'vitest';
import { names, placeAt, values, verbs } from './complete';

const at = (marked: string) => placeAt(marked.replace('‸', ''), marked.indexOf('‸'));

test('a word may become a field, also behind a sign', () => {
  expect(at('err‸')).toMatchObject({ kind: 'field', prefix: 'err', start: 0, end: 3 });
  expect(at('a -us‸')).toMatchObject({ kind: 'field', prefix: 'us', start: 3, end: 5 });
  expect(at('a ‸')).toBeNull();
});

test('behind a colon stand values', () => {
  expect(at('user:‸')).toMatchObject({ kind: 'value', field: 'user', prefix: '' });
  expect(at('user:al‸ x')).toMatchObject({ kind: 'value', field: 'user', prefix: 'al' });
});

test('behind a pipe stand commands, behind a command fields', () => {
  expect(at('a |‸')).toMatchObject({ kind: 'verb' });
  expect(at('a | st‸')).toMatchObject({ kind: 'verb', prefix: 'st' });
  expect(at('a | stats count() by ho‸')).toMatchObject({ kind: 'column', prefix: 'ho' });
});

test('completions are quoted where they must be', () => {
  const place = { kind: 'value' as const, field: 'user', prefix: 'a', start: 0, end: 1 };
  const found = [
    { text: 'Bea', count: 5 },
    { text: 'al b', count: 3 },
  ];
  expect(values(found, place, String).map(({ insert }) => insert)).toEqual(['"al b" ', 'Bea ']);
  expect(verbs({ ...place, prefix: 's' }).map(({ text }) => text)).toEqual([
    'stats',
    'sort',
    'sample',
    'patterns',
    'fields',
    'parse',
  ]);
  const fields = [{ name: 'my field', label: false, types: ['int'], count: 1 }];
  expect(names(fields, { ...place, kind: 'field', prefix: 'my' }, String)[0]?.insert).toBe(
    '"my field":',
  );
});

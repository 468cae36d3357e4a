import { expect, test } from 'vitest';
import { withOnly } from './only';

const only = (query: string) => withOnly(query, 'status', 'status:502');

test('a value takes the place of what was said of its field', () => {
  expect(only('')).toBe('status:502');
  expect(only('error')).toBe('error status:502');
  expect(only('status:200')).toBe('status:502');
  expect(only('a status>=500 b')).toBe('a b status:502');
  expect(only('NOT status:(200 OR 404) a')).toBe('a status:502');
  expect(only('-status:"a b" x | stats count()')).toBe('x status:502 | stats count()');
  expect(only('a AND status:[1 TO 5] AND b')).toBe('a AND b status:502');
  expect(only('"two  spaces" status:1 b')).toBe('"two  spaces" b status:502');
  expect(only('status:200 AND b')).toBe('b status:502');
});

test('what is said of others, or in an alternative, stays', () => {
  expect(only('my.status:200')).toBe('my.status:200 status:502');
  expect(only('status:200 OR user:al')).toBe('(status:200 OR user:al) status:502');
  expect(only('"status:200"')).toBe('"status:200" status:502');
});

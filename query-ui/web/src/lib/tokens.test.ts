import { expect, test } from 'vitest';
import { hasPipes, searchPart, tokens } from './tokens';

const kinds = (query: string) => tokens(query).map(({ kind, text }) => `${kind} ${text}`);

test('a search falls into fields, values, words and operators', () => {
  expect(kinds('error status>=500 NOT user:"a b"')).toEqual([
    'word error',
    'field status',
    'operator >=',
    'value 500',
    'operator NOT',
    'field user',
    'operator :',
    'value "a b"',
  ]);
});

test('pipes have verbs, functions and fields', () => {
  expect(kinds('| stats count() as n by host')).toEqual([
    'pipe |',
    'verb stats',
    'verb count',
    'bracket (',
    'bracket )',
    'operator as',
    'field n',
    'operator by',
    'field host',
  ]);
});

test('a pipe in quotes is text', () => {
  expect(hasPipes('"a | b"')).toBe(false);
  expect(searchPart('x "a | b" | limit 5')).toBe('x "a | b" ');
});

test('a regular expression is one piece; a path is a word', () => {
  expect(kinds('message:/a|b "c"/ x')).toEqual([
    'field message',
    'operator :',
    'value /a|b "c"/',
    'word x',
  ]);
  expect(searchPart('/a|b/ | limit 5')).toBe('/a|b/ ');
  expect(kinds('/var/log/ | limit 5')[0]).toBe('word /var/log/');
});

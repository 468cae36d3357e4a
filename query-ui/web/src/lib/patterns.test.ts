import { expect, test } from 'vitest';
import { patternTerm, pieces, sparkPath } from './patterns';

test('a pattern falls into what stays and what varies', () => {
  expect(pieces('took <*> ms')).toEqual([
    { text: 'took ', varies: false },
    { text: '<*>', varies: true },
    { text: ' ms', varies: false },
  ]);
});

test('a search for a pattern is a regular expression that takes signs as they are', () => {
  expect(patternTerm('GET /a?b=<*> (ok)', false)).toBe('message:/^GET \\x2Fa\\?b=\\S+ \\(ok\\)$/');
  expect(patternTerm('x', true)).toBe('NOT message:/^x$/');
});

test('a very long pattern is searched by how it begins', () => {
  const term = patternTerm('a'.repeat(5000), false);
  expect(term.length).toBeLessThan(2100);
  expect(term.endsWith('a/')).toBe(true);
});

test('empty bars draw nothing, the greatest is as high as there is room', () => {
  expect(sparkPath([0, 2], 20, 10)).toBe('M10.0 10v-10.0h9.0v10.0z');
});

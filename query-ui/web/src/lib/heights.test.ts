import { expect, it } from 'vitest';
import { columns, DETAILS, lineCount, LINES_MAX, rowAt, tops } from './heights';

it('counts columns as a terminal does', () => {
  expect(columns('abc')).toBe(3);
  expect(columns('错误')).toBe(4);
  expect(columns('a\tb')).toBe(9);
  expect(columns('é')).toBe(1);
});

it('counts the lines of a text', () => {
  expect(lineCount('', 10)).toBe(1);
  expect(lineCount('1234567890', 10)).toBe(1);
  expect(lineCount('12345678901', 10)).toBe(2);
  expect(lineCount('a\n\nb', 10)).toBe(3);
  expect(lineCount('x'.repeat(1e6), 10)).toBe(LINES_MAX);
});

it('finds the rows in sight', () => {
  const places = tops([20, 60, 20], 1);
  expect([...places]).toEqual([0, 20, 80 + DETAILS, 100 + DETAILS]);
  expect(rowAt(places, 0)).toBe(0);
  expect(rowAt(places, 19)).toBe(0);
  expect(rowAt(places, 20)).toBe(1);
  expect(rowAt(places, 79 + DETAILS)).toBe(1);
  expect(rowAt(places, 1e9)).toBe(2);
  expect(rowAt(tops([], -1), 5)).toBe(0);
});

import { expect, test } from 'vitest';
import { readJson, valueText, writeJson, type Value } from './json';

test('long whole numbers keep every digit, both ways', () => {
  const text = '{"id":9007199254740993,"list":[12345678901234567890],"small":12,"float":1.5}';
  const value = readJson<Value>(text);
  expect(writeJson(value)).toBe(text);
});

test('a long float stays a number', () => {
  expect(readJson<{ x: number }>('{"x":1234567890123456.5}').x).toBeTypeOf('number');
});

test('JSON is laid out in lines', () => {
  expect(writeJson({ a: 1, b: [true, null], c: {} }, 2)).toBe(
    '{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ],\n  "c": {}\n}',
  );
});

test('texts are shown as they are, nothing as nothing', () => {
  expect(valueText('a "b"')).toBe('a "b"');
  expect(valueText(null)).toBe('');
  expect(valueText([1, 'x'])).toBe('[1,"x"]');
});

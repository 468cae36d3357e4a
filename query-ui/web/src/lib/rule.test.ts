import { expect, test } from 'vitest';
import { shipperRule } from './rule';

test('a rule leaves out what has a value, or keeps a part of it', () => {
  expect(shipperRule('level', 'debug', 'drop')).toBe(
    '[[files.rules]]\nwhen = [{ field = "level", is = "debug" }]\ndrop = true\n',
  );
  expect(shipperRule('path', '/a "b"\\', 'sample')).toBe(
    '[[files.rules]]\nwhen = [{ field = "path", is = "/a \\"b\\"\\\\" }]\nsample_one_in = 100\n',
  );
});

test('a pattern is told as an expression for exactly its messages', () => {
  expect(shipperRule('_pattern', 'GET /a <*>', 'drop')).toContain(
    'when = [{ field = "message", matches = "^GET \\\\x2Fa \\\\S+$" }]',
  );
});

import { expect, test } from 'vitest';
import warnings from '../../../src/plan/warnings.rs?raw';
import { en } from '../messages/partial/en';
import { zh } from '../messages/partial/zh';
import { doubtful, gaps } from './partial';

const refused = (node: string) =>
  `node ${node} does not answer: tcp connect error: transport error: tcp connect error: refused`;
const fresh = (partition: number, node: string) => ({
  what: `fresh records of partition ${partition}`,
  why: refused(node),
});

test('what one node does not answer for is one gap, and each cause is said once', () => {
  const missing = [fresh(10, 'b:1'), fresh(1, 'a:1'), fresh(2, 'b:1'), fresh(2, 'b:1')];
  expect(gaps(missing, en, 'en')).toEqual([
    {
      what: 'the newest records of partitions 2 and 10',
      why: 'node b:1 does not answer (tcp connect error: transport error: refused)',
    },
    {
      what: 'the newest records of partition 1',
      why: 'node a:1 does not answer (tcp connect error: transport error: refused)',
    },
  ]);
});

test('a node that hears nothing says for how long, however often it was asked', () => {
  const silent = (ms: number) => ({
    what: 'the newest records',
    why: `this node has not heard of its cluster for ${ms} ms`,
  });
  const [gap, ...more] = gaps([silent(34_662), silent(34_892)], en, 'en');
  expect(gap?.why).toMatch(/^this node has heard nothing of its cluster for 35 s/);
  expect(more).toEqual([]);
});

test('other gaps are told in the words of the node, known ones in the language of the reader', () => {
  expect(gaps([{ what: 'split 7', why: 'its body is damaged' }], en, 'en')).toEqual([
    { what: 'split 7', why: 'its body is damaged' },
  ]);
  const behind = { what: '1200 newest records of partition 3', why: 'they are being read' };
  expect(gaps([behind], en, 'en')[0]?.what).toBe('the 1,200 newest records of partition 3');
  expect(gaps([fresh(2, 'b:1')], zh, 'zh')[0]?.what).toBe('分区 2 的最新记录');
});

test('a table that ends at its bound says so in the language of the reader', () => {
  const beyond = {
    what: 'rows beyond the first 1000000',
    why: 'a table has so many at most (query.table_rows_max): group by fields with fewer values, or export it',
  };
  expect(gaps([beyond], en, 'en')).toEqual([
    {
      what: 'the rows beyond the first 1,000,000',
      why: 'a table here has so many at most; group by fields with fewer values, or export it',
    },
  ]);
  expect(gaps([beyond], zh, 'zh')[0]).toEqual({
    what: '前 1,000,000 行之后的行',
    why: zh.rowsMax,
  });
});

test('what a question may not mean is told once, with what may have been meant', () => {
  const field = {
    field: 'statsu',
    message: 'no record has a field "statsu"',
    hint: 'did you mean status?',
  };
  const far = { field: 'abc', message: 'no record has a field "abc"', hint: null };
  const level = {
    field: 'level',
    message: 'level:errror names no level',
    hint: 'did you mean error?',
  };
  const all = {
    field: 'level',
    message: 'level:loud names no level',
    hint: 'levels are info, error',
  };
  const other = { field: 'x', message: 'x is of another kind', hint: 'say so' };
  expect(doubtful([field, far, level, field, all, other], en)).toEqual([
    'no record has a field "statsu": did you mean status?',
    'no record has a field "abc"',
    'level:errror names no level: did you mean error?',
    'level:loud names no level: levels are info, error',
    'x is of another kind: say so',
  ]);
  expect(doubtful([field, far, level, all], zh)).toEqual([
    '没有记录含有字段 "statsu"：是否想写 status？',
    '没有记录含有字段 "abc"',
    'level:errror 不是任何级别：是否想写 error？',
    'level:loud 不是任何级别：级别有 info, error',
  ]);
});

test('an index that there is not is told in the language of the reader', () => {
  const named = {
    field: 'index',
    message: 'there is no index "mian" yet',
    hint: 'did you mean main?',
  };
  const term = { field: 'index', message: 'index:mi* names no index', hint: null };
  expect(doubtful([named, term], en)).toEqual([
    'there is no index "mian" yet: did you mean main?',
    'index:mi* names no index',
  ]);
  expect(doubtful([named, term], zh)).toEqual([
    '还没有索引 "mian"：是否想写 main？',
    'index:mi* 不是任何索引',
  ]);
});

test('whatever a node warns of, the page has words for it', () => {
  const [code = ''] = warnings.split('#[cfg(test)]');
  const templates = [...code.matchAll(/message: format!\("(.*)"\)/g)].map(([, text = '']) => text);
  const fields = [...code.matchAll(/naming_none\(\s*"(\w+)"/g)].map(([, field = '']) => field);
  const written = templates.flatMap((text) => {
    const said = text.replace('{name:?}', '"x"').replace('{said}', 'a:x').replaceAll('\\"', '"');
    return said.includes('{field}')
      ? fields.map((field) => said.replace('{field}', field))
      : [said];
  });
  expect(written.toSorted()).toEqual([
    'a:x names no index',
    'a:x names no level',
    'no record has a field "x"',
    'there is no index "x" yet',
  ]);
  for (const message of written) {
    const told = doubtful([{ field: 'x', message, hint: null }], zh);
    expect(told.join(), message).not.toBe(message);
  }
});

// What the messages of a question have in common: counts, times, and a search for each.

import * as api from './api';
import type { Level, Question, TableRow } from './api';
import { msOf } from './time';
import { searchPart } from './tokens';

/** Patterns fetched, the most frequent first. */
export const PATTERNS_MAX = 500;
/** Bars of a small chart. */
export const BARS = 30;
/** Cells of the small charts together; beyond, the smallest are left out. */
const CELLS_MAX = 10_000;
/** Characters of a pattern that make it into a search. */
const TERM_CHARS_MAX = 2000;
const PLACEHOLDER = '<*>';

export interface Pattern {
  text: string;
  count: number;
  level: Level;
  first: number;
  last: number;
  /** Not there in the window before. */
  isNew: boolean;
  bars: number[];
}

export interface Patterns {
  all: Pattern[];
  records: number;
  /** There are more than were fetched. */
  cut: boolean;
}

/** The pieces of a pattern: what stays, and what varies between. */
export function pieces(pattern: string): { text: string; varies: boolean }[] {
  const parts = pattern.split(PLACEHOLDER);
  return parts.flatMap((text, at) => [
    ...(at > 0 ? [{ text: PLACEHOLDER, varies: true }] : []),
    ...(text ? [{ text, varies: false }] : []),
  ]);
}

/** A regular expression for exactly one text, fit to stand between slashes. */
function literally(text: string): string {
  return text
    .replace(/[\\^$.*+?()[\]{}|#&~-]/g, '\\$&')
    .replace(/\//g, '\\x2F')
    .replace(/"/g, '\\x22')
    .replace(/\n/g, '\\n')
    .replace(/\t/g, '\\t');
}

/** A regular expression for the messages of a pattern, fit to stand between slashes. */
export function patternExpression(pattern: string): string {
  const start = pattern.slice(0, TERM_CHARS_MAX);
  const expression = pieces(start)
    .map(({ text, varies }) => (varies ? '\\S+' : literally(text)))
    .join('');
  const end = start.length === pattern.length ? '$' : '';
  return `^${expression}${end}`;
}

/** The search for the messages of a pattern, or for all others. */
export function patternTerm(pattern: string, exclude: boolean): string {
  return `${exclude ? 'NOT ' : ''}message:/${patternExpression(pattern)}/`;
}

const textOf = (row: TableRow, name: string) => (row[name] ?? '').toString();

/** Where the time of the small charts begins and ends. */
function span(question: Question, all: Pattern[]): { from: number; to: number } {
  const from = question.from
    ? msOf(question.from)
    : Math.min(...all.map((pattern) => pattern.first));
  const last = question.to
    ? msOf(question.to)
    : Math.max(...all.map((pattern) => pattern.last)) + 1;
  return { from, to: Math.max(from + 1, last) };
}

async function draw(search: string, question: Question, all: Pattern[], signal: AbortSignal) {
  const { from, to } = span(question, all);
  const width = Math.max(1, Math.ceil((to - from) / BARS));
  const query = `${search} | stats count() as n by _pattern, bin(timestamp, ${width}ms) | sort n desc | limit ${CELLS_MAX}`;
  const byText = new Map(all.map((pattern) => [pattern.text, pattern]));
  for (const row of await api.table({ ...question, query }, signal)) {
    const pattern = byText.get(textOf(row, '_pattern'));
    const start = Object.entries(row).find(([name]) => name !== '_pattern' && name !== 'n')?.[1];
    const at = Math.floor((msOf(`${start}`) + width / 2 - from) / width);
    const bar = Math.max(0, Math.min(BARS - 1, at));
    if (pattern) pattern.bars[bar] = (pattern.bars[bar] ?? 0) + Number(row['n']);
  }
}

/** Marks those that the window before, as long as this one, did not have. */
async function compare(search: string, question: Question, all: Pattern[], signal: AbortSignal) {
  if (!question.from) return;
  const to = question.to ? msOf(question.to) : Date.now();
  const from = msOf(question.from);
  const before = {
    query: `${search} | stats count() as n by _pattern`,
    from: new Date(from - (to - from)).toISOString(),
    to: question.from,
  };
  const known = new Set((await api.table(before, signal)).map((row) => textOf(row, '_pattern')));
  // Where nothing at all was stored before, nothing is new.
  if (known.size > 0) for (const pattern of all) pattern.isNew = !known.has(pattern.text);
}

/** The patterns of the records that a question finds, whatever its pipes make of them. */
export async function patternsOf(question: Question, signal: AbortSignal): Promise<Patterns> {
  const search = searchPart(question.query).trim();
  const query = `${search} | stats count() as n, min(timestamp) as first, max(timestamp) as last, max(level) as level by _pattern | sort n desc | limit ${PATTERNS_MAX + 1}`;
  const rows = await api.table({ ...question, query }, signal);
  const all = rows.slice(0, PATTERNS_MAX).map((row): Pattern => ({
    text: textOf(row, '_pattern'),
    count: Number(row['n']),
    level: (row['level'] ?? 'unknown') as Level,
    first: msOf(textOf(row, 'first')),
    last: msOf(textOf(row, 'last')),
    isNew: false,
    bars: new Array<number>(BARS).fill(0),
  }));
  if (all.length > 0)
    await Promise.all([
      draw(search, question, all, signal),
      compare(search, question, all, signal),
    ]);
  const records = all.reduce((sum, pattern) => sum + pattern.count, 0);
  return { all, records, cut: rows.length > PATTERNS_MAX };
}

/** One path of bars, `height` high at the greatest. */
export function sparkPath(bars: number[], width: number, height: number): string {
  const most = Math.max(1, ...bars);
  const step = width / bars.length;
  return bars
    .map((count, at) => {
      if (count === 0) return '';
      const tall = Math.max(1, (count / most) * height);
      const left = (at * step).toFixed(1);
      return `M${left} ${height}v${(-tall).toFixed(1)}h${(step - 1).toFixed(1)}v${tall.toFixed(1)}z`;
    })
    .join('');
}

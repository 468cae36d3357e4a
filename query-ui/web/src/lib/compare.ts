// What is different about a time: values and patterns that are more, or less, frequent than else.

import * as api from './api';
import type { Question } from './api';
import { valueText, type Value } from './json';
import { patternTerm } from './patterns';
import { fieldTerm } from './query';
import { msOf } from './time';
import { searchPart } from './tokens';

/** Fields looked into, the most frequent first. */
const FIELDS_MAX = 40;
/** Values of a field that are told apart. */
const VALUES_MAX = 100;
const PATTERNS_MAX = 1000;
/** Questions under way at once. */
const ASKED_AT_ONCE = 4;
/** Smaller differences of shares say nothing. */
const DIFFERENCE_MIN = 0.005;
export const SHOWN_MAX = 50;
const PATTERN = '_pattern';

export interface Span {
  from: number;
  to: number;
}

export interface Difference {
  /** The field's name; `_pattern` for what messages have in common. */
  name: string;
  text: string;
  /** The search for it. */
  term: string;
  without: string;
  inside: number;
  outside: number;
  /** Shares of the records, 0 to 1. */
  insideShare: number;
  outsideShare: number;
}

export interface Comparison {
  inside: number;
  outside: number;
  differences: Difference[];
}

type Counts = Map<string, { value: Value; count: number }>;

/** What a time is compared with: the rest of the time it was cut out of, else the time before. */
export function otherTimes(shown: Span, whole: Span | null): Span[] {
  const holds = whole && whole.from <= shown.from && shown.to <= whole.to;
  const rest = holds
    ? [
        { from: whole.from, to: shown.from },
        { from: shown.to, to: whole.to },
      ].filter(({ from, to }) => from < to)
    : [];
  return rest.length ? rest : [{ from: 2 * shown.from - shown.to, to: shown.from }];
}

/** Those that differ, the most different first. */
export function differences(
  name: string,
  inside: Counts,
  outside: Counts,
  records: { inside: number; outside: number },
): Difference[] {
  const share = (count: number, of: number) => (of > 0 ? count / of : 0);
  const found: Difference[] = [];
  for (const text of new Set([...inside.keys(), ...outside.keys()])) {
    const value = inside.get(text)?.value ?? outside.get(text)?.value ?? text;
    const [within, without] = [inside.get(text)?.count ?? 0, outside.get(text)?.count ?? 0];
    const one = {
      name,
      text,
      term: name === PATTERN ? patternTerm(text, false) : fieldTerm(name, valueText(value), false),
      without: name === PATTERN ? patternTerm(text, true) : fieldTerm(name, valueText(value), true),
      inside: within,
      outside: without,
      insideShare: share(within, records.inside),
      outsideShare: share(without, records.outside),
    };
    if (Math.abs(one.insideShare - one.outsideShare) >= DIFFERENCE_MIN) found.push(one);
  }
  return found.toSorted((a, b) => size(b) - size(a));
}

const size = (one: Difference) => Math.abs(one.insideShare - one.outsideShare);

function add(counts: Counts, value: Value, count: number) {
  const text = valueText(value);
  counts.set(text, { value, count: (counts.get(text)?.count ?? 0) + count });
}

async function patterns(questions: Question[], signal: AbortSignal): Promise<Counts> {
  const counts: Counts = new Map();
  for (const question of questions) {
    const query = `${question.query} | stats count() as n by ${PATTERN} | sort n desc | limit ${PATTERNS_MAX}`;
    for (const row of await api.table({ ...question, query }, signal))
      add(counts, row[PATTERN] ?? '', Number(row['n']));
  }
  return counts;
}

async function values(questions: Question[], field: string, signal: AbortSignal): Promise<Counts> {
  const counts: Counts = new Map();
  for (const question of questions) {
    const { values } = await api.fieldValues(question, field, VALUES_MAX, signal);
    for (const { value, count } of values) add(counts, value, count);
  }
  return counts;
}

/** Compares what a search finds in one time with what it finds in others. */
export async function compare(
  search: string,
  shown: Span,
  others: Span[],
  signal: AbortSignal,
): Promise<Comparison> {
  const query = searchPart(search).trim();
  const at = ({ from, to }: Span): Question => ({
    query,
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
  });
  const [here, there] = [[at(shown)], others.map(at)];
  const facets = await Promise.all([...here, ...there].map((one) => api.fields(one, signal)));
  const [inside = 0, ...rest] = facets.map((one) => one.records);
  const records = { inside, outside: rest.reduce((sum, count) => sum + count, 0) };
  const totals = new Map<string, number>();
  for (const { fields } of facets)
    for (const { name, count } of fields) totals.set(name, (totals.get(name) ?? 0) + count);
  const frequent = [...totals].toSorted((a, b) => b[1] - a[1]).map(([name]) => name);
  const names = [PATTERN, 'level', ...frequent.slice(0, FIELDS_MAX)];
  const found: Difference[] = [];
  const next = async () => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const counts = (of: Question[], field: string) =>
        field === PATTERN ? patterns(of, signal) : values(of, field, signal);
      const [within, without] = await Promise.all([counts(here, name), counts(there, name)]);
      found.push(...differences(name, within, without, records));
    }
  };
  if (records.inside > 0 && records.outside > 0)
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, next));
  const sorted = found.toSorted((a, b) => size(b) - size(a)).slice(0, SHOWN_MAX);
  return { ...records, differences: sorted };
}

/** The two ends of what was asked, where it has them. */
export function spanOf(question: Question, first: number | null): Span | null {
  const from = question.from ? msOf(question.from) : first;
  return from === null ? null : { from, to: question.to ? msOf(question.to) : Date.now() };
}

// From a row of a computed table back to the records behind it.

import type { Column, TableRow } from './api';
import { valueText, type Value } from './json';
import { fieldTerm, withTerm } from './query';
import { readLength } from './range';
import { msOf } from './time';
import { searchPart, tokens } from './tokens';

export interface Behind {
  query: string;
  from?: string;
  to?: string;
}

/** What makes groups of records. */
const GROUPING = ['stats', 'timechart', 'top', 'rare'];

interface Group {
  column: string;
  field: string;
  /** For bins of time: how long one is; 0 where the node chose. */
  binMs: number | null;
}

/** What the records were grouped by; null when they were not. */
export function groups(query: string): Group[] | null {
  const all = tokens(query);
  const at = all.findIndex((token) => token.kind === 'verb' && GROUPING.includes(token.text));
  const verb = all[at]?.text;
  if (!verb) return null;
  const next = all.findIndex((token, place) => place > at && token.kind === 'pipe');
  const pipe = all.slice(at, next < 0 ? undefined : next);
  const end = pipe.at(-1)?.end;
  if (verb === 'top' || verb === 'rare')
    return fieldsOf(query.slice(pipe[0]?.end, end).replace(/^\s*\d+(?=\s)/, ''));
  const by = pipe.findIndex((token) => token.text.toLowerCase() === 'by');
  const fields = by < 0 ? [] : fieldsOf(query.slice(pipe[by]?.end, end));
  if (verb === 'stats') return fields;
  const span = readLength(pipe[1]?.text ?? '');
  return [{ field: 'timestamp', column: 'timestamp', binMs: span?.ms ?? 0 }, ...fields];
}

function fieldsOf(list: string): Group[] {
  const text = list.trim();
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[^,(]+\([^)]*\)(?:\s+as\s+\S+)?|[^,]+/gi) ?? [];
  return parts.map((part) => {
    const [, what = '', as] = /^(.*?)(?:\s+as\s+(\S+))?$/is.exec(part.trim()) ?? [];
    const bin = /^bin\(\s*(\w+)\s*,\s*([^)]+?)\s*\)$/i.exec(what);
    const field = (bin?.[1] ?? what).trim().replace(/^"|"$/g, '');
    return {
      field,
      column: as ?? field,
      binMs: bin ? (readLength(bin[2] ?? '')?.ms ?? 0) : null,
    };
  });
}

function groupTerm(field: string, value: Value): string {
  return value === null ? fieldTerm(field, null, true) : fieldTerm(field, valueText(value), false);
}

/** The search for the records of a row; null when a row stands for none. */
export function drill(
  query: string,
  columns: Column[],
  row: TableRow,
  rows: TableRow[] = [],
): Behind | null {
  const by = groups(query);
  if (!by) return null;
  const behind: Behind = { query: searchPart(query).trim() };
  for (const { column, field, binMs } of by) {
    if (!columns.some(({ name }) => name === column)) return null;
    const value = row[column];
    if (value === undefined) continue;
    if (binMs !== null) {
      const start = typeof value === 'string' ? msOf(value) : Number.NaN;
      const length = binMs || shortest(rows, column);
      if (Number.isNaN(start) || !length) return null;
      behind.from = new Date(start).toISOString();
      behind.to = new Date(start + length).toISOString();
    } else behind.query = withTerm(behind.query, groupTerm(field, value));
  }
  return behind;
}

/** The shortest time between two bins: how long one is, as nobody said so. */
function shortest(rows: TableRow[], column: string): number {
  const starts = [...new Set(rows.map((row) => msOf(`${row[column]}`)))].toSorted((a, b) => a - b);
  const gaps = starts.slice(1).map((start, at) => start - (starts[at] ?? start));
  return gaps.length > 0 ? Math.min(...gaps) : 0;
}

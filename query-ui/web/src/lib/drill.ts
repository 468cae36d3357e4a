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

interface Group {
  column: string;
  field: string;
  /** For bins of time: how long one is. */
  binMs: number | null;
}

/** What the records were grouped by; null when they were not. */
export function groups(query: string): Group[] | null {
  const all = tokens(query);
  const stats = all.findIndex((token) => token.kind === 'verb' && token.text === 'stats');
  if (stats < 0) return null;
  const next = all.findIndex((token, at) => at > stats && token.kind === 'pipe');
  const pipe = all.slice(stats, next < 0 ? undefined : next);
  const by = pipe.findIndex((token) => token.text.toLowerCase() === 'by');
  if (by < 0) return [];
  const text = query.slice(pipe[by]?.end, pipe.at(-1)?.end).trim();
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[^,(]+\([^)]*\)(?:\s+as\s+\S+)?|[^,]+/gi) ?? [];
  return parts.map((part) => {
    const [, what = '', as] = /^(.*?)(?:\s+as\s+(\S+))?$/is.exec(part.trim()) ?? [];
    const bin = /^bin\(\s*(\w+)\s*,\s*([^)]+?)\s*\)$/i.exec(what);
    const field = (bin?.[1] ?? what).trim().replace(/^"|"$/g, '');
    return {
      field,
      column: as ?? field,
      binMs: bin ? (readLength(bin[2] ?? '')?.ms ?? null) : null,
    };
  });
}

function groupTerm(field: string, value: Value): string {
  return value === null ? fieldTerm(field, null, true) : fieldTerm(field, valueText(value), false);
}

/** The search for the records of a row; null when a row stands for none. */
export function drill(query: string, columns: Column[], row: TableRow): Behind | null {
  const by = groups(query);
  if (!by) return null;
  const behind: Behind = { query: searchPart(query).trim() };
  for (const { column, field, binMs } of by) {
    if (!columns.some(({ name }) => name === column)) return null;
    const value = row[column];
    if (value === undefined) continue;
    if (binMs !== null && typeof value === 'string') {
      const start = msOf(value);
      behind.from = new Date(start).toISOString();
      behind.to = new Date(start + binMs).toISOString();
    } else behind.query = withTerm(behind.query, groupTerm(field, value));
  }
  return behind;
}

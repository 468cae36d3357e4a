// Edits of the query text: what a click on a value adds.

import { searchPart } from './tokens';

/** A text in the quotes of the query language, where it needs them. */
export function quoted(text: string): string {
  if (
    /^[\p{L}\p{N}_./@=+%#,;-]+$/u.test(text) &&
    // In front, these would turn it round, ask for its exact case, or make an expression of it.
    !/^[-!=/]/.test(text) &&
    !text.includes('..') &&
    !/^(AND|OR|NOT)$/.test(text)
  )
    return text;
  return `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n').replace(/\t/g, '\\t')}"`;
}

/** The query with one more term in its search, before the first pipe. */
export function withTerm(query: string, term: string): string {
  const before = searchPart(query);
  const search = before.trim();
  const pipes = query.slice(before.length);
  const joined =
    !search || search === '*' ? term : `${/\bOR\b/.test(search) ? `(${search})` : search} ${term}`;
  return pipes ? `${joined} ${pipes}` : joined;
}

/** The pipe that puts records in an order: by a field, the greatest first behind a `-`. */
export function sortPipe(sort: string): string {
  return sort && ` | sort ${quoted(sort.replace(/^-/, ''))}${sort.startsWith('-') ? ' desc' : ''}`;
}

/** The index that a query is about, when it names one. */
export function indexOf(query: string): string {
  return /(?<![-!\w."]|NOT )index:"?([\w.*-]+)/.exec(searchPart(query))?.[1] ?? '';
}

/** The term that finds, or leaves out, one value of a field. */
export function fieldTerm(field: string, value: unknown, exclude: boolean): string {
  const name = /^[\p{L}_@$]([\p{L}\p{N}_.@$-]*[\p{L}\p{N}_])?$/u.test(field)
    ? field
    : quoted(`${field}`);
  const text = value === null || value === '' ? '*' : quoted(String(value));
  return `${exclude ? 'NOT ' : ''}${name}:${text}`;
}

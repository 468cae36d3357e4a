// Ways to take the whole answer along: as a file, and as a command that does the same.

import type { Question } from './api';
import { quoted, sortPipe } from './query';
import { hasPipes } from './tokens';

export type Format = 'ndjson' | 'csv';

/** The question in the order that is shown, with all columns or these; pipes say so themselves. */
export function exported(question: Question, sort: string, columns: string[]): Question {
  if (hasPipes(question.query)) return question;
  const names = ['timestamp', 'level', ...columns].map(quoted);
  const fields = columns.length ? ` | fields ${[...new Set(names)].join(', ')}` : '';
  return { ...question, query: `${question.query}${sortPipe(sort)}${fields}`.trim() };
}

/** Where the file comes from; the browser saves it as it streams. */
export function exportPath(question: Question, format: Format): string {
  return `/api/v1/export?${new URLSearchParams({ ...question, format })}`;
}

/** A text as one word of a shell. */
export function shellWord(text: string): string {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}

/** The same file with curl; with a token, where one is wanted. */
export function curlCommand(
  origin: string,
  question: Question,
  format: Format,
  token = '',
): string {
  const shown = token && `-H ${shellWord(`Authorization: Bearer ${token}`)} `;
  const given = Object.entries({ ...question, format }).filter(([, text]) => text !== '');
  const parts = given.map(([name, text]) => `--data-urlencode ${shellWord(`${name}=${text}`)}`);
  return `curl -sSG --compressed ${shown}${shellWord(`${origin}/api/v1/export`)} ${parts.join(' ')} -o sawlog.${format}`;
}

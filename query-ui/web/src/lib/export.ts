// Ways to take the whole answer along: as a file, and as a command that does the same.

import type { Question } from './api';
import { quoted } from './query';
import { hasPipes } from './tokens';

export type Format = 'ndjson' | 'csv';

/** The question that gives only these columns; a query that makes a table has its own. */
export function columnsOnly(question: Question, columns: string[]): Question {
  if (hasPipes(question.query)) return question;
  const names = ['timestamp', 'level', ...columns].map(quoted);
  return {
    ...question,
    query: `${question.query} | fields ${[...new Set(names)].join(', ')}`.trim(),
  };
}

/** Where the file comes from; the browser saves it as it streams. */
export function exportPath(question: Question, format: Format): string {
  return `/api/v1/export?${new URLSearchParams({ ...question, format })}`;
}

/** A text as one word of a shell. */
export function shellWord(text: string): string {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}

/** The same file with curl. */
export function curlCommand(origin: string, question: Question, format: Format): string {
  const given = Object.entries({ ...question, format }).filter(([, text]) => text !== '');
  const parts = given.map(([name, text]) => `--data-urlencode ${shellWord(`${name}=${text}`)}`);
  return `curl -sSG --compressed ${shellWord(`${origin}/api/v1/export`)} ${parts.join(' ')} -o sawlog.${format}`;
}

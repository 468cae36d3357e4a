// The HTTP API of docs/api.md, typed.

export type Level = 'unknown' | 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
export type Value = string | number | boolean | null | Value[];

export interface LogRecord {
  id: string;
  timestamp: string;
  ingest_time: string;
  index: string;
  level: Level;
  message: string;
  labels: Record<string, string>;
  fields: Record<string, Value>;
}

export interface Position {
  start: number;
  end: number;
  expected: string[];
}

export interface ErrorDetail {
  code: string;
  message: string;
  hint?: string;
  position?: Position;
}

export interface Missing {
  what: string;
  why: string;
}

export interface Question {
  query: string;
  from?: string;
  to?: string;
}

export interface Histogram {
  from: string;
  to: string;
  interval_ms: number;
  total: number;
  buckets: { start: string; total: number; levels: Partial<Record<Level, number>> }[];
}

export interface Field {
  name: string;
  label: boolean;
  types: string[];
  count: number;
}

export interface FieldValues {
  records: number;
  present: number;
  values: { value: Value; count: number }[];
}

export interface Answer {
  kind: 'records' | 'table';
  columns: string[];
  /** The types of the columns: `text`, `int`, `float`, `bool`, `time`. */
  types: Record<string, string>;
  records: LogRecord[];
  rows: Record<string, Value>[];
  partial: Missing[];
  elapsedMs: number;
}

/** A refusal in the node's own words. */
export class ApiError extends Error {
  constructor(readonly detail: ErrorDetail) {
    super(detail.message);
  }
}

async function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), signal });
  if (answer.ok) return answer;
  const text = await answer.text();
  try {
    throw new ApiError((JSON.parse(text) as { error: ErrorDetail }).error);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError({ code: 'internal', message: `the node answers ${answer.status}: ${text}` });
  }
}

/** The lines of a streamed answer. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let left = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (left + value).split('\n');
      left = parts.pop() ?? '';
      yield* parts;
    }
    if (left) yield left;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

export async function query(
  question: Question & { limit: number },
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await post('/api/v1/query', question, signal);
  const answer: Answer = {
    kind: 'records',
    columns: [],
    types: {},
    records: [],
    rows: [],
    partial: [],
    elapsedMs: 0,
  };
  let ended = false;
  for await (const line of lines(response.body ?? new ReadableStream())) {
    if (!line) continue;
    const piece = JSON.parse(line);
    if (piece.header) {
      answer.kind = piece.header.kind;
      const columns: { name: string; type: string }[] = piece.header.columns;
      answer.columns = columns.map((column) => column.name);
      answer.types = Object.fromEntries(columns.map((column) => [column.name, column.type]));
    } else if (piece.row) {
      (answer.kind === 'table' ? answer.rows : answer.records).push(piece.row);
    } else if (piece.end) {
      ended = true;
      answer.partial = piece.end.partial ?? [];
      answer.elapsedMs = piece.end.elapsed_ms;
    } else if (piece.error) {
      throw new ApiError(piece.error);
    }
  }
  if (!ended) throw new ApiError({ code: 'unavailable', message: 'the answer broke off' });
  return answer;
}

export async function histogram(question: Question, signal?: AbortSignal): Promise<Histogram> {
  return (await post('/api/v1/histogram', { ...question, buckets: 60 }, signal)).json();
}

export async function fields(question: Question, signal?: AbortSignal): Promise<Field[]> {
  return (await (await post('/api/v1/fields', question, signal)).json()).fields;
}

export async function fieldValues(question: Question, field: string): Promise<FieldValues> {
  return (await post('/api/v1/field-values', { ...question, field, limit: 10 })).json();
}

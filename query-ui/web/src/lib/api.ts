// The HTTP API of docs/api.md, typed.

import { readJson, type Value } from './json';

export type Level = 'unknown' | 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
/** The gravest first. */
export const LEVELS: Level[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'unknown'];

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
  hint?: string | null;
  position?: Position | null;
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

export interface Bucket {
  start: string;
  total: number;
  levels: Partial<Record<Level, number>>;
}

export interface Histogram {
  interval_ms: number;
  total: number;
  buckets: Bucket[];
  partial: Missing[];
}

export interface Field {
  name: string;
  label: boolean;
  types: string[];
  count: number;
}

export interface Fields {
  records: number;
  fields: Field[];
}

export interface FieldValues {
  records: number;
  present: number;
  values: { value: Value; count: number }[];
}

export interface Column {
  name: string;
  type: 'int' | 'float' | 'text' | 'bool' | 'time';
}

export type TableRow = Record<string, Value>;

export interface End {
  rows: number;
  elapsed_ms: number;
  partial: Missing[];
}

/** A piece of a streamed answer; rows come as many as arrived together. */
export type Piece =
  | { header: { kind: 'records' | 'table'; columns: Column[] } }
  | { rows: (LogRecord | TableRow)[] }
  | { end: End };

export interface IndexStatus {
  name: string;
  records: number;
  splits: number;
  bytes: number;
  raw_bytes: number;
  time_min: string | null;
  time_max: string | null;
  retention_days: number;
  /** Whether that was set for this index. */
  retention_is_own: boolean;
}

export interface RetentionChange {
  retention_days: number;
  expiring_records: number;
  expiring_bytes: number;
}

/** A view that everybody may see. */
export interface SharedView {
  id: string;
  name: string;
  author: string;
  saved: string;
  search: string;
}

/** A shipper by what it reported last. */
export interface KnownShipper {
  id: string;
  seen: string;
  silent_s: number;
  host: string;
  version: string;
  files: number;
  lag_bytes: number;
  gaps: number;
  lost_bytes: number;
  patterns: string[];
  last_error: string | null;
  behind: { path: string; lag_bytes: number; last_error: string | null }[];
}

export interface PartitionStatus {
  partition: number;
  committed: number;
  published: number;
  fresh_records: number;
  queue_bytes: number;
  oldest_unpublished_s: number;
}

export interface ShipperStatus {
  files: number;
  lag_bytes: number;
  patterns: string[];
  last_error: string | null;
}

export interface Status {
  version: string;
  node: string;
  uptime_s: number;
  ready: boolean;
  data_dir: string;
  disk: { used_bytes: number; free_bytes: number; total_bytes: number };
  partitions: PartitionStatus[];
  indexes: IndexStatus[];
  shippers: ShipperStatus[];
}

/** A refusal in the node's own words. */
export class ApiError extends Error {
  constructor(readonly detail: ErrorDetail) {
    super(detail.message);
  }
}

/** What to show of anything that went wrong; null when it was stopped on purpose. */
export function detailOf(failure: unknown): ErrorDetail | null {
  if (failure instanceof DOMException && failure.name === 'AbortError') return null;
  if (failure instanceof ApiError) return failure.detail;
  return {
    code: 'unreachable',
    message: failure instanceof Error ? failure.message : `${failure}`,
  };
}

async function refused(answer: Response): Promise<ApiError> {
  const text = await answer.text();
  try {
    const { error } = JSON.parse(text) as { error?: ErrorDetail };
    if (error) return new ApiError(error);
  } catch {
    // Not the node's words: shown as they are, below.
  }
  return new ApiError({ code: 'internal', message: `${answer.status}: ${text.slice(0, 500)}` });
}

function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return send('POST', path, body, signal);
}

async function send(
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  const init: RequestInit = { method, headers };
  if (body !== undefined) init.body = JSON.stringify(body);
  if (signal) init.signal = signal;
  const answer = await fetch(path, init);
  if (!answer.ok) throw await refused(answer);
  return answer;
}

async function asked<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return readJson<T>(await (await post(path, body, signal)).text());
}

/** The lines of a stream, as many as arrived together. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string[]> {
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
      yield parts.filter(Boolean);
    }
    if (left) yield [left];
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

interface Line {
  header?: { kind: 'records' | 'table'; columns: Column[] };
  row?: LogRecord | TableRow;
  end?: End;
  error?: ErrorDetail;
}

/** An answer as it comes; an answer that breaks off is an error. */
export async function* query(
  question: Question & { limit: number },
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  const response = await post('/api/v1/query', question, signal);
  let ended = false;
  for await (const texts of lines(response.body ?? new ReadableStream())) {
    const rows: (LogRecord | TableRow)[] = [];
    for (const text of texts) {
      const line = readJson<Line>(text);
      if (line.row) rows.push(line.row);
      else if (line.header) yield { header: line.header };
      else if (line.error) {
        if (rows.length) yield { rows };
        throw new ApiError(line.error);
      } else if (line.end) {
        if (rows.length) yield { rows: rows.splice(0) };
        ended = true;
        yield { end: line.end };
      }
    }
    if (rows.length) yield { rows };
  }
  if (!ended) throw new ApiError({ code: 'unavailable', message: 'the answer broke off' });
}

/** All records of an answer. */
export async function records(
  question: Question & { limit: number },
  signal?: AbortSignal,
): Promise<LogRecord[]> {
  const found: LogRecord[] = [];
  for await (const piece of query(question, signal))
    if ('rows' in piece) found.push(...(piece.rows as LogRecord[]));
  return found;
}

/** All rows of a table. */
export async function table(question: Question, signal?: AbortSignal): Promise<TableRow[]> {
  return (await records({ ...question, limit: 0 }, signal)) as unknown as TableRow[];
}

export function histogram(
  question: Question,
  buckets: number,
  signal?: AbortSignal,
): Promise<Histogram> {
  return asked('/api/v1/histogram', { ...question, buckets }, signal);
}

export function fields(question: Question, signal?: AbortSignal): Promise<Fields> {
  return asked('/api/v1/fields', question, signal);
}

export function fieldValues(
  question: Question,
  field: string,
  limit: number,
  signal?: AbortSignal,
): Promise<FieldValues> {
  return asked('/api/v1/field-values', { ...question, field, limit }, signal);
}

/** The answer to a question without a body. */
async function got<T>(path: string): Promise<T> {
  return readJson<T>(await (await send('GET', path)).text());
}

export const status = () => got<Status>('/api/v1/status');

export const views = async () => (await got<{ views: SharedView[] }>('/api/v1/views')).views;

export async function addView(
  view: Pick<SharedView, 'name' | 'author' | 'search'>,
): Promise<SharedView> {
  return asked('/api/v1/views', view);
}

export async function removeView(id: string) {
  await send('DELETE', `/api/v1/views/${id}`);
}

export const shippers = async () =>
  (await got<{ shippers: KnownShipper[] }>('/api/v1/shippers')).shippers;

export async function forgetShipper(id: string) {
  await send('DELETE', `/api/v1/shippers/${encodeURIComponent(id)}`);
}

/** Changes how long an index keeps its records, or only tells what that would delete. */
export async function retention(
  index: string,
  days: number | null,
  how: 'preview' | 'change',
): Promise<RetentionChange> {
  const path = `/api/v1/indexes/${encodeURIComponent(index)}${how === 'preview' ? '?preview=true' : ''}`;
  return readJson(await (await send('PATCH', path, { retention_days: days })).text());
}

export const tailPath = (query: string) => `/api/v1/tail?${new URLSearchParams({ query })}`;

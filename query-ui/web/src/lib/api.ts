// The HTTP API of docs/api.md, typed.

import { byName } from './fields';
import { readJson } from './json';
import { words } from './settings.svelte';
import type * as wire from './wire';

export type * from './wire';

/** The gravest first. */
export const LEVELS: wire.Level[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'unknown'];

/** A piece of a streamed answer; rows come as many as arrived together. */
export type Piece =
  | { header: wire.Header }
  | { rows: (wire.LogRecord | wire.TableRow)[] }
  | { progress: wire.Progress }
  | { end: wire.End };

/** A refusal in the node's own words. */
export class ApiError extends Error {
  constructor(readonly detail: wire.ErrorDetail) {
    super(detail.message);
  }
}

/** What to show of anything that went wrong; null when it was stopped on purpose. */
export function detailOf(failure: unknown): wire.ErrorDetail | null {
  if (failure instanceof DOMException && failure.name === 'AbortError') return null;
  if (failure instanceof ApiError) return failure.detail;
  return { code: 'unreachable', message: words().errors.unreachable };
}

async function refused(answer: Response): Promise<ApiError> {
  const text = await answer.text();
  try {
    const { error } = JSON.parse(text) as { error?: wire.ErrorDetail };
    if (error) return new ApiError(error);
  } catch {
    // Not the node's words: shown as they are, below.
  }
  return new ApiError({ code: 'internal', message: `${answer.status}: ${text.slice(0, 500)}` });
}

function post<P extends wire.Post>(
  path: P,
  body: wire.Body<P>,
  signal?: AbortSignal,
): Promise<Response> {
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

/** The answer to a question; the document says which body and answer go with which path. */
async function asked<P extends wire.Post>(
  path: P,
  body: wire.Body<P>,
  signal?: AbortSignal,
): Promise<wire.AnswerTo<P, 'post'>> {
  return readJson(await (await post(path, body, signal)).text());
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

/** An answer as it comes; an answer that breaks off is an error. */
export async function* query(
  question: wire.Question & { limit: number },
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  const response = await post('/api/v1/query', question, signal);
  let ended = false;
  for await (const texts of lines(response.body ?? new ReadableStream())) {
    const rows: (wire.LogRecord | wire.TableRow)[] = [];
    for (const text of texts) {
      const line = readJson<wire.Line>(text);
      if ('row' in line) rows.push(line.row);
      else if ('header' in line) yield { header: line.header };
      else if ('progress' in line) yield line;
      else if ('error' in line) {
        if (rows.length) yield { rows };
        throw new ApiError(line.error);
      } else if ('end' in line) {
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
  question: wire.Question & { limit: number },
  signal?: AbortSignal,
): Promise<wire.LogRecord[]> {
  const found: wire.LogRecord[] = [];
  for await (const piece of query(question, signal))
    if ('rows' in piece) found.push(...(piece.rows as wire.LogRecord[]));
  return found;
}

/** All rows of a table. */
export async function table(
  question: wire.Question,
  signal?: AbortSignal,
): Promise<wire.TableRow[]> {
  return (await records({ ...question, limit: 0 }, signal)) as unknown as wire.TableRow[];
}

export function histogram(
  question: wire.Question,
  buckets: number,
  signal?: AbortSignal,
): Promise<wire.Histogram> {
  return asked('/api/v1/histogram', { ...question, buckets }, signal);
}

export async function fields(question: wire.Question, signal?: AbortSignal): Promise<wire.Fields> {
  const answer = await asked('/api/v1/fields', question, signal);
  return { ...answer, fields: byName(answer.fields) };
}

export async function fieldValues(
  question: wire.Question,
  field: string,
  limit: number,
  signal?: AbortSignal,
): Promise<wire.FieldValues> {
  const body = { ...question, field, limit };
  return (await asked('/api/v1/field-values', body, signal)) as wire.FieldValues;
}

/** For the editor: what a text is, what is odd about it, and what could stand at the caret. */
export function parse(
  question: wire.Question & { cursor: number },
  signal?: AbortSignal,
): Promise<wire.Parsed> {
  return asked('/api/v1/query/parse', question, signal);
}

/** The answer to a question without a body. */
async function got<P extends wire.Get>(path: P): Promise<wire.AnswerTo<P, 'get'>> {
  return readJson(await (await send('GET', path)).text());
}

export const status = () => got('/api/v1/status');

export const views = async () => (await got('/api/v1/views')).views;

export async function addView(
  view: Pick<wire.SharedView, 'name' | 'author' | 'search'>,
): Promise<wire.SharedView> {
  return asked('/api/v1/views', view);
}

export async function removeView(id: string) {
  await send('DELETE', `/api/v1/views/${id}`);
}

export const shippers = async () => (await got('/api/v1/shippers')).shippers;

/** The cluster as this node sees it; null when the node is on its own. */
export async function cluster(): Promise<wire.Cluster | null> {
  try {
    return await got('/api/v1/cluster');
  } catch (failure) {
    if (detailOf(failure)?.code === 'not_found') return null;
    throw failure;
  }
}

/** Has a node drained, taken back or removed; what the cluster says to it. */
export async function changeNode(how: wire.NodeChange, node: string): Promise<string> {
  return (await asked(`/api/v1/cluster/${how}`, { node })).message;
}

export async function forgetShipper(id: string) {
  await send('DELETE', `/api/v1/shippers/${encodeURIComponent(id)}`);
}

/** Changes how long an index keeps its records, or only tells what that would delete. */
export async function retention(
  index: string,
  days: number | null,
  how: 'preview' | 'change',
): Promise<wire.RetentionChange> {
  const path = `/api/v1/indexes/${encodeURIComponent(index)}${how === 'preview' ? '?preview=true' : ''}`;
  return readJson(await (await send('PATCH', path, { retention_days: days })).text());
}

/** Where a tail comes from: what comes from now on, or everything behind a place. */
export const tailPath = (query: string, after = '') =>
  `/api/v1/tail?${new URLSearchParams(after ? { query, after } : { query })}`;

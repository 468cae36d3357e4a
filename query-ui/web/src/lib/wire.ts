// What goes to the node and comes from it: the types of its OpenAPI document, which `npm run types`
// makes, under the names that the page has for them.

import type { components, paths } from '../../types/api';
import type { Value } from './json';

type Schemas = components['schemas'];
/** A type of the document with parts that the page reads more exactly. */
type With<T, Exact> = Omit<T, keyof Exact> & Exact;

export type Level = Schemas['Level'];
export type LogRecord = With<Schemas['Record'], { fields: Record<string, Value> }>;
export type TableRow = Record<string, Value>;
export type Column = Schemas['Column'];
export type Progress = Schemas['Progress'];
export type Header = Schemas['Header'];
export type End = Schemas['End'];
export type Missing = Schemas['Missing'];
/** What may not be meant so in a query. */
export type Doubt = Schemas['Warning'];
/** What a failed answer says; `unreachable` is the page's own word. */
export type ErrorDetail = With<
  Schemas['ErrorDetail'],
  { code: Schemas['ErrorDetail']['code'] | 'unreachable'; hint?: string | null }
>;
/** A line of a streamed answer. */
export type Line = Exclude<Schemas['QueryLine'], { row: unknown }> | { row: LogRecord | TableRow };

export interface Question {
  query: string;
  from?: string;
  to?: string;
}

export type Bucket = With<Schemas['Bucket'], { levels: Partial<Record<Level, number>> }>;
export type Histogram = With<Schemas['Histogram'], { buckets: Bucket[] }>;
/** Of a record's own fields the page names more types. */
export type Field = With<Schemas['Field'], { types: string[] }>;
export type Fields = With<Schemas['Fields'], { fields: Field[] }>;
export type FieldValues = With<
  Schemas['FieldValues'],
  { values: { value: Value; count: number }[] }
>;

export type Token = Schemas['Token'];
export type Diagnostic = Schemas['Diagnostic'];
export type Parsed = Schemas['ParseAnswer'];

export type SharedView = Schemas['View'];
export type Status = Schemas['Status'];
export type IndexStatus = Status['indexes'][number];
export type RetentionChange = Schemas['IndexChange'];
/** A shipper by what it reported last. */
export type KnownShipper = Schemas['Shippers']['shippers'][number];

export type Cluster = Schemas['Cluster'];
export type ClusterNode = Schemas['ClusterNode'];
export type ClusterPartition = Schemas['ClusterPartition'];
export type ClusterReplica = Schemas['ClusterReplica'];
export type NodeChange = 'drain' | 'undrain' | 'remove';

type Json = { 'application/json': unknown };
/** Paths that take a JSON body. */
export type Post = {
  [P in keyof paths]: paths[P] extends { post: { requestBody: { content: Json } } } ? P : never;
}[keyof paths];
/** Paths that are asked without one, and answer in JSON. */
export type Get = {
  [P in keyof paths]: paths[P] extends { get: { responses: { 200: { content: Json } } } }
    ? P
    : never;
}[keyof paths];
/** What is sent to a path. */
export type Body<P extends Post> = paths[P] extends {
  post: { requestBody: { content: { 'application/json': infer B } } };
}
  ? B
  : never;
/** What a path answers. */
export type AnswerTo<P extends keyof paths, M extends 'get' | 'post'> =
  paths[P] extends Record<M, { responses: infer R }> ? AnswerIn<R[keyof R & (200 | 201)]> : never;
type AnswerIn<R> = R extends { content: { 'application/json': infer A } } ? A : never;

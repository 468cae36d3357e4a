// A record's parts by name, and its texts in the forms people copy.

import type { LogRecord } from './api';
import { plain } from './ansi';
import { valueText, writeJson, type Value } from './json';
import { fieldTerm } from './query';

/** The value of a field, a label, or of what every record has; undefined where it has none. */
export function valueOf(record: LogRecord, name: string): Value | undefined {
  switch (name) {
    case 'message':
      return record.message;
    case 'level':
      return record.level;
    case 'index':
      return record.index;
    case 'id':
      return record.id;
    case 'timestamp':
      return record.timestamp;
    case 'ingest_time':
      return record.ingest_time;
    default:
      return record.fields[name] ?? record.labels[name];
  }
}

export interface Part {
  name: string;
  value: Value;
  label: boolean;
}

/** Everything but time and message: labels first. */
export function parts(record: LogRecord): Part[] {
  const listed = (from: Record<string, Value>, label: boolean) =>
    Object.keys(from)
      .toSorted()
      .map((name) => ({ name, value: from[name] ?? null, label }));
  return [...listed(record.labels, true), ...listed(record.fields, false)];
}

/** As it would be sent again. */
export function recordJson(record: LogRecord, indent = 2): string {
  const { timestamp, level, message, labels, fields } = record;
  return writeJson({ timestamp, level, message, ...labels, ...fields }, indent);
}

/** What a record looks like in the JSON layout: fields only where there are some. */
export function rowJson(record: LogRecord): string {
  const { message, labels, fields } = record;
  return writeJson({ message: plain(message), ...labels, ...fields }, 2);
}

/** The term for a value of a record; of several values, the first. */
export function valueTerm(name: string, value: Value, exclude: boolean): string {
  const one = Array.isArray(value) ? (value[0] ?? null) : value;
  return fieldTerm(name, typeof one === 'object' ? one : valueText(one), exclude);
}

/** The labels that say where a record came from, most exact first. */
export function origin(record: LogRecord): [string, string][] {
  const order = ['source', 'container', 'pod', 'service', 'host'];
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.entries(record.labels).toSorted((a, b) => rank(a[0]) - rank(b[0]));
}

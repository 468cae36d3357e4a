// The records before and after one, from the same place.

import * as api from './api';
import type { LogRecord } from './api';
import { fieldTerm } from './query';
import { newestFirst } from './results.svelte';
import { isoOfNanos, nanosOf } from './time';

export interface Surroundings {
  /** Oldest first, as the file reads. */
  records: LogRecord[];
  /** Where the record is among them. */
  at: number;
}

/** Records of one moment that are asked for beyond what is shown: they may lie on either side. */
const TIES = 100;

export async function recordOf(id: string, signal: AbortSignal): Promise<LogRecord | null> {
  const [record] = await api.records({ query: `id:${id}`, limit: 1 }, signal);
  return record ?? null;
}

/** `count` records on each side, of those that share the labels. */
export async function around(
  record: LogRecord,
  labels: [string, string][],
  count: number,
  signal: AbortSignal,
): Promise<Surroundings> {
  const query = labels.map(([name, value]) => fieldTerm(name, value, false)).join(' ');
  const limit = count + TIES;
  const next = isoOfNanos(nanosOf(record.timestamp) + 1n);
  const later = `${query} | sort timestamp | limit ${limit}`;
  const [before, after] = await Promise.all([
    api.records({ query, to: next, limit }, signal),
    api.records({ query: later, from: record.timestamp, limit }, signal),
  ]);
  const all = new Map([record, ...before, ...after].map((one) => [one.id, one]));
  const sorted = [...all.values()].toSorted(newestFirst).reverse();
  const at = sorted.findIndex((one) => one.id === record.id);
  const first = Math.max(0, at - count);
  return { records: sorted.slice(first, at + count + 1), at: at - first };
}

// The state of the node and of those that send to it, as the system page shows it.

import { en } from '../messages/system/en';
import type { SystemMessages } from '../messages/system/shape';
import { zh } from '../messages/system/zh';
import * as api from './api';
import type { Value } from './json';
import { quoted } from './query';
import { settings } from './settings.svelte';

/** The words of the system page in the reader's language. */
export const systemWords = (): SystemMessages => (settings.language === 'zh' ? zh : en);

/** Hosts and services shown. */
const SOURCES_MAX = 500;
/** Who sent nothing for so long is quiet. */
export const QUIET_MS = 15 * 60_000;

export interface Source {
  host: string;
  service: string;
  records: number;
  bytes: number;
  /** When its newest record arrived. */
  seen: string;
  /** The time that its newest record bears. */
  latest: string;
}

export const DIMENSIONS = ['service', 'host', 'source', 'index', 'level', '_pattern'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

export interface Volume {
  value: string | null;
  records: number;
  bytes: number;
}

const text = (value: Value | undefined) => (value ?? '').toString();

/** Who sent something in a day, the most recent last seen first. */
export async function sources(signal: AbortSignal): Promise<Source[]> {
  const query = `| stats count() as n, sum(length(message)) as bytes, max(ingest_time) as seen, max(timestamp) as latest by host, service | sort seen desc | limit ${SOURCES_MAX}`;
  const rows = await api.table({ query, from: '-24h' }, signal);
  return rows.map((row) => ({
    host: text(row['host']),
    service: text(row['service']),
    records: Number(row['n']),
    bytes: Number(row['bytes'] ?? 0),
    seen: text(row['seen']),
    latest: text(row['latest']),
  }));
}

/** Records and characters of messages by what they have in common, the most first. */
export async function volume(
  dimension: string,
  from: string,
  signal: AbortSignal,
): Promise<Volume[]> {
  const query = `| stats count() as n, sum(length(message)) as bytes by ${quoted(dimension)} | sort bytes desc | limit 50`;
  const rows = await api.table({ query, from }, signal);
  return rows.map((row) => ({
    value: row[dimension] === null ? null : text(row[dimension]),
    records: Number(row['n']),
    bytes: Number(row['bytes'] ?? 0),
  }));
}

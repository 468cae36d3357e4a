// One request through all services: its records in order, with the time between them.

import type { LogRecord } from './api';
import { nanosOf } from './time';

/** Records of a trace that are shown, the earliest. */
export const STEPS_MAX = 1000;
/** A pause of at least this part of the whole is pointed out. */
const GAP_SHARE = 0.1;

const NAME =
  /^(?:.*[._-])?(trace|request|correlation|span|transaction|session|txn|req)[._-]?(id|uuid)$|^traceparent$|^x-request-id$/i;

/** Whether a field holds what the records of one request share. */
export function tracesBy(name: string): boolean {
  return NAME.test(name.replace(/([a-z])(Id)$/, '$1_$2'));
}

export interface Step {
  record: LogRecord;
  service: string;
  /** Since the first record. */
  offsetMs: number;
  /** Since the record before. */
  gapMs: number;
  isLong: boolean;
  /** Where it lies in the whole, 0 to 1. */
  place: number;
}

const nanosToMs = (nanos: bigint) => Number(nanos) / 1e6;

/** The records of a trace, oldest first, as steps. */
export function steps(records: LogRecord[]): Step[] {
  const first = records[0];
  const last = records.at(-1);
  if (!first || !last) return [];
  const start = nanosOf(first.timestamp);
  const whole = Math.max(nanosToMs(nanosOf(last.timestamp) - start), 1e-6);
  let before = start;
  return records.map((record) => {
    const at = nanosOf(record.timestamp);
    const [offsetMs, gapMs] = [nanosToMs(at - start), nanosToMs(at - before)];
    before = at;
    const { service, host, source } = record.labels;
    return {
      record,
      service: service ?? host ?? source ?? record.index,
      offsetMs,
      gapMs,
      isLong: records.length > 2 && gapMs / whole >= GAP_SHARE,
      place: offsetMs / whole,
    };
  });
}

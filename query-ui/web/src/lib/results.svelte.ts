// The answer on the page: a window of records that grows at both ends, or a table.

import * as api from './api';
import type { Column, Doubt, ErrorDetail, LogRecord, Missing, Question, TableRow } from './api';
import { sortPipe } from './query';
import { isoOfNanos, nanosOf } from './time';
import { hasPipes } from './tokens';

/** Records fetched at first. */
const PAGE = 500;
/** Who scrolls on and on is given more at once. */
const PAGE_MAX = 5000;
/** Records held; beyond, those at the far end go and come back when scrolled to. */
export const WINDOW_MAX = 150_000;

type End = 'older' | 'newer';

const justAfter = (iso: string) => isoOfNanos(nanosOf(iso) + 1n);

/** Newest first; in one moment, what came last first. */
export function newestFirst(a: LogRecord, b: LogRecord): number {
  if (a.timestamp !== b.timestamp) return a.timestamp < b.timestamp ? 1 : -1;
  const offset = (record: LogRecord) => parseInt(record.id.slice(record.id.indexOf('-') + 1), 16);
  return offset(b) - offset(a);
}

const oldestFirst = (a: LogRecord, b: LogRecord) => newestFirst(b, a);

export class Results {
  kind = $state<'records' | 'table'>('records');
  columns = $state.raw<Column[]>([]);
  records = $state.raw<LogRecord[]>([]);
  rows = $state.raw<TableRow[]>([]);
  partial = $state.raw<Missing[]>([]);
  /** What may not be meant so in the question. */
  doubts = $state.raw<Doubt[]>([]);
  error = $state.raw<ErrorDetail | null>(null);
  elapsedMs = $state(0);
  running = $state(false);
  /** The share of the splits and fresh blocks that is read, as the node told last; of 1. */
  read = $state(0);
  /** What is shown answers an earlier question. */
  stale = $state(false);
  /** The work was stopped by the reader: what is shown is a part. */
  cancelled = $state(false);
  /** An answer has come since the page was opened. */
  answered = $state(false);
  growing = $state<End | null>(null);
  /** Whether there is nothing more to fetch at an end. */
  ended = $state<Record<End, boolean>>({ older: true, newer: true });
  /** The order of the records, as in the address; a query with pipes has its own. */
  sort = $state('');
  /** The question and the query that `records` answer. */
  question = $state.raw<Question>({ query: '' });
  private control = new AbortController();

  get signal(): AbortSignal {
    return this.control.signal;
  }

  private get ascending(): boolean {
    return this.sort === 'timestamp';
  }

  /** By a field: there are no ends in time, and no moment to go to. */
  get byField(): boolean {
    return this.sort !== '' && !this.ascending;
  }

  /** Which end of time lies at an end of the list. */
  endAt(place: 'first' | 'last'): End {
    return (place === 'first') === this.ascending ? 'older' : 'newer';
  }

  /** Asks anew. What is on the page stays, marked as stale, until the first row comes. */
  async run(question: Question, sort: string): Promise<void> {
    this.sort = hasPipes(question.query) ? '' : sort;
    this.control.abort();
    const control = (this.control = new AbortController());
    this.running = true;
    this.read = 0;
    this.stale = true;
    this.cancelled = false;
    this.growing = null;
    this.error = null;
    try {
      await this.take(question, control.signal);
      this.answered = true;
    } catch (failure) {
      if (this.control !== control) return;
      // What the order adds was not typed: the error is to speak of what was.
      if (this.sort && api.detailOf(failure)?.position) return this.run(question, '');
      this.failed(failure);
    } finally {
      if (this.control === control) this.running = false;
    }
  }

  private async take(question: Question, signal: AbortSignal) {
    const rows: (LogRecord | TableRow)[] = [];
    let [kind, columns] = [this.kind, this.columns];
    const show = (partial: Missing[], doubts: Doubt[]) => {
      this.kind = kind;
      this.columns = columns;
      const records = kind === 'records' ? (rows.slice() as LogRecord[]) : [];
      this.records = this.ascending ? records.sort(oldestFirst) : records;
      this.rows = kind === 'table' ? (rows.slice() as TableRow[]) : [];
      this.partial = partial;
      this.doubts = doubts;
      this.question = question;
      this.stale = false;
    };
    for await (const piece of api.query(this.sorted(question, PAGE), signal)) {
      if (signal.aborted) return;
      if ('header' in piece) ({ kind, columns } = piece.header);
      else if ('rows' in piece) {
        rows.push(...piece.rows);
        show([], []);
      } else if ('progress' in piece) {
        const { units, units_read } = piece.progress;
        this.read = units ? units_read / units : 0;
      } else {
        show(piece.end.partial, piece.end.warnings);
        this.elapsedMs = piece.end.elapsed_ms;
      }
    }
    const pages = kind === 'records' && !hasPipes(question.query);
    const isAll = !pages || rows.length < PAGE;
    this.ended = { older: true, newer: true, [this.endAt('last')]: isAll };
  }

  /** The first so many in the order that is shown. */
  private sorted(question: Question, limit: number): Question & { limit: number } {
    if (!this.sort) return { ...question, limit };
    return {
      ...question,
      query: `${question.query}${sortPipe(this.sort)} | limit ${limit}`,
      limit,
    };
  }

  private failed(failure: unknown) {
    const detail = api.detailOf(failure);
    if (detail) this.error = detail;
  }

  /** Stops the work, here and in the node; what came stays. */
  cancel() {
    if (!this.running && !this.growing) return;
    this.control.abort();
    this.control = new AbortController();
    this.cancelled = this.running;
    this.running = false;
    this.growing = null;
  }

  /** Fetches more at one end. */
  async grow(end: End) {
    const edge = end === this.endAt('last') ? this.records.at(-1) : this.records[0];
    if (this.ended[end] || this.running || this.growing || !edge) return;
    const { control } = this;
    this.growing = end;
    try {
      await (this.byField
        ? this.fetchAgain(control.signal)
        : this.fetchMore(end, edge, control.signal));
    } catch (failure) {
      if (this.control === control) this.failed(failure);
    } finally {
      if (this.control === control) this.growing = null;
    }
  }

  /** In the order of a field there is no place to go on from: twice as many are asked for. */
  private async fetchAgain(signal: AbortSignal) {
    const { records, question } = this;
    const limit = Math.min(WINDOW_MAX, 2 * records.length);
    const page = await api.records(this.sorted(question, limit), signal);
    if (signal.aborted || this.records !== records) return;
    this.ended = { older: page.length < limit || limit === WINDOW_MAX, newer: true };
    this.records = page;
  }

  /** The records of the edge's moment come again and are told apart by their ids. */
  private async fetchMore(end: End, edge: LogRecord, signal: AbortSignal) {
    const { records, question } = this;
    const ties = records.filter((record) => record.timestamp === edge.timestamp);
    const known = new Set(ties.map((record) => record.id));
    const more = Math.min(PAGE_MAX, Math.max(PAGE, Math.floor(records.length / 4)));
    const limit = more + ties.length;
    const asked =
      end === 'older'
        ? { ...question, to: justAfter(edge.timestamp), limit }
        : {
            ...question,
            query: `${question.query}${sortPipe('timestamp')} | limit ${limit}`,
            from: edge.timestamp,
            limit,
          };
    const page = await api.records(asked, signal);
    if (signal.aborted || this.records !== records) return;
    const fresh = page.filter((record) => !known.has(record.id));
    if (end === 'newer') fresh.sort(newestFirst);
    this.ended = { ...this.ended, [end]: page.length < limit };
    this.join(end, fresh);
  }

  /** Adds records at an end; those beyond the window leave at the other. */
  join(end: End, fresh: LogRecord[], most = WINDOW_MAX) {
    if (fresh.length === 0) return;
    const isLast = end === this.endAt('last');
    const all = isLast ? [...this.records, ...fresh] : [...fresh, ...this.records];
    // Records of one moment may have come in two answers.
    if (this.ascending) all.sort(oldestFirst);
    if (all.length > most) {
      this.ended = { ...this.ended, [end === 'older' ? 'newer' : 'older']: false };
      this.records = isLast ? all.slice(all.length - most) : all.slice(0, most);
    } else this.records = all;
  }

  /** Shows the records around a moment; the question stays the same. */
  async jump(moment: string) {
    if (this.kind !== 'records' || hasPipes(this.question.query)) return;
    const { question } = this;
    if (this.byField) this.sort = '';
    this.control.abort();
    const control = (this.control = new AbortController());
    this.running = true;
    this.cancelled = false;
    try {
      // What leads up to the moment, or away from it, and then what is on its other side.
      const first = this.endAt('last');
      const end = this.ascending ? { from: moment } : { to: moment };
      const page = await api.records(this.sorted({ ...question, ...end }, PAGE), control.signal);
      if (this.control !== control) return;
      this.ended = { older: false, newer: false, [first]: page.length < PAGE };
      this.records = this.ascending ? page.sort(oldestFirst) : page;
      this.running = false;
      if (page.length > 0) await this.grow(this.endAt('first'));
      else await this.beyond(moment, control.signal);
    } catch (failure) {
      if (this.control === control) this.failed(failure);
    } finally {
      if (this.control === control) this.running = false;
    }
  }

  /** There is nothing on the side that was asked for: what is nearest on the other one. */
  private async beyond(moment: string, signal: AbortSignal) {
    const { question, ascending } = this;
    const query = `${question.query}${sortPipe('timestamp')} | limit ${PAGE}`;
    const other = ascending ? { to: moment } : { query, from: moment };
    const page = await api.records({ ...question, ...other, limit: PAGE }, signal);
    const isAll = page.length < PAGE;
    this.ended = ascending ? { older: isAll, newer: true } : { older: true, newer: isAll };
    this.records = page.sort(ascending ? oldestFirst : newestFirst);
  }
}

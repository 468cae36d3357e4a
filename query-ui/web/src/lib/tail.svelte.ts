// The live tail: records as they come, held back while somebody reads, with no gap.

import * as api from './api';
import type { LogRecord } from './api';
import { withTerm } from './query';
import type { Results } from './results.svelte';

/** Records shown in a tail; older ones come back when scrolled to. */
const SHOWN_MAX = 20_000;
/** Records held back; beyond, the oldest of them are fetched again when resumed. */
const WAITING_MAX = 50_000;
/** Clocks of arrival and of connections may differ by so much. */
const OVERLAP_MS = 5000;
const FILL_MAX = 5000;
/** The node says something every 4 s: who hears nothing for so long has lost it, also when the network says nothing. */
const SILENCE_MAX_MS = 10_000;
const WATCH_MS = 2000;

export type TailState = 'connecting' | 'live' | 'lost' | 'paused';

export class Tail {
  on = $state(false);
  live = $state(false);
  /** There was a connection before. */
  private wasLive = $state(false);
  paused = $state(false);
  waiting = $state.raw<LogRecord[]>([]);
  lost = $state(0);
  /** Records of the last seconds, per second. */
  rate = $state(0);
  refusal = $state.raw<api.ErrorDetail | null>(null);
  private source: EventSource | null = null;
  private seen = new Set<string>();
  private coming: LogRecord[] = [];
  private frame = 0;
  private filling = false;
  private since = '';
  private counted = 0;
  private clock = 0;
  private query = '';
  /** Behind which record the tail is, in the node's words; it goes on there. */
  private place = '';
  private heardAt = 0;

  constructor(private readonly results: Results) {}

  get state(): TailState {
    if (!this.live) return this.wasLive ? 'lost' : 'connecting';
    return this.paused ? 'paused' : 'live';
  }

  /** Begins; `results` hold what is there already, or are on their way. */
  start(query: string) {
    this.stop();
    this.on = true;
    this.query = query;
    this.since = new Date(Date.now() - OVERLAP_MS).toISOString();
    this.connect();
    this.clock = window.setInterval(() => this.watch(), WATCH_MS);
  }

  private connect() {
    this.source?.close();
    this.heardAt = Date.now();
    const source = (this.source = new EventSource(api.tailPath(this.query, this.place)));
    source.addEventListener('open', () => {
      this.heardAt = Date.now();
      this.live = this.wasLive = true;
      void this.fill();
    });
    source.addEventListener('record', (event) => this.take(this.heard(event)));
    source.addEventListener('alive', (event) => this.heard(event));
    source.addEventListener('lost', (event) => {
      this.lost += (JSON.parse(this.heard(event)) as { count: number }).count;
      void this.fill();
    });
    source.addEventListener('error', () => {
      this.live = false;
      if (source.readyState === EventSource.CLOSED) void this.refused(source);
    });
  }

  /** The data of an event, after its place was kept. */
  private heard(event: Event): string {
    const { data, lastEventId } = event as MessageEvent<string>;
    this.heardAt = Date.now();
    if (lastEventId) this.place = lastEventId;
    return data;
  }

  private watch() {
    this.rate = Math.round((this.rate + this.counted / 2) / 2);
    this.counted = 0;
    if (Date.now() - this.heardAt < SILENCE_MAX_MS) return;
    this.live = false;
    this.connect();
  }

  stop() {
    this.source?.close();
    this.source = null;
    cancelAnimationFrame(this.frame);
    clearInterval(this.clock);
    this.seen.clear();
    this.coming = [];
    this.waiting = [];
    this.frame = this.lost = this.rate = this.counted = 0;
    this.on = this.live = this.wasLive = this.paused = false;
    this.place = '';
    this.refusal = null;
  }

  /** Holds back what comes: nothing moves under the reader's eyes. */
  pause() {
    if (this.on) this.paused = true;
  }

  /** Shows what was held back, and goes on. */
  resume() {
    if (!this.on) return;
    this.paused = false;
    const { waiting } = this;
    this.waiting = [];
    this.results.join('newer', waiting, SHOWN_MAX);
  }

  private async refused(source: EventSource) {
    // A refusal's words are not told to an event source: they are asked for.
    const answer = await fetch(api.tailPath(this.query, this.place)).catch(() => null);
    const body = answer && !answer.ok ? ((await answer.json().catch(() => null)) as unknown) : null;
    await answer?.body?.cancel().catch(() => undefined);
    if (this.source !== source) return;
    const detail = (body as { error?: api.ErrorDetail } | null)?.error;
    // A node that starts is asked again soon; one that lost the place has what it has.
    if (!detail || detail.code === 'unavailable') this.heardAt = 0;
    else if (this.place && detail.code === 'invalid_value') {
      this.place = '';
      this.connect();
    } else {
      this.stop();
      this.refusal = detail;
    }
  }

  private take(data: string) {
    this.counted += 1;
    this.add(JSON.parse(data) as LogRecord);
  }

  private add(record: LogRecord) {
    if (this.seen.has(record.id)) return;
    this.seen.add(record.id);
    if (record.ingest_time > this.since) this.since = record.ingest_time;
    this.coming.push(record);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.show());
  }

  private show() {
    this.frame = 0;
    // What the page had before the tail began is not shown twice.
    if (this.filling || this.results.running) {
      this.frame = requestAnimationFrame(() => this.show());
      return;
    }
    const known = new Set(this.results.records.slice(0, 2 * FILL_MAX).map((record) => record.id));
    const fresh = this.coming.filter((record) => !known.has(record.id)).reverse();
    this.coming = [];
    if (this.paused) this.waiting = [...fresh, ...this.waiting].slice(0, WAITING_MAX);
    else this.results.join('newer', fresh, SHOWN_MAX);
    if (this.seen.size > 4 * WAITING_MAX) this.seen = new Set(fresh.map((record) => record.id));
  }

  /** Fetches what was accepted while nobody listened. */
  private async fill() {
    if (this.filling) return;
    this.filling = true;
    const { source } = this;
    try {
      const since = new Date(Date.parse(this.since) - OVERLAP_MS).toISOString();
      const query = withTerm(this.query, `ingest_time>="${since}"`);
      const found = await api.records({ query, limit: FILL_MAX }, this.results.signal);
      if (this.source === source) for (const record of found.reverse()) this.add(record);
    } catch (failure) {
      const detail = api.detailOf(failure);
      if (detail && this.source === source) this.results.error = detail;
    } finally {
      this.filling = false;
    }
  }
}

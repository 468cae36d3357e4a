// The state of the page: what is asked, what is shown, and the address that mirrors both.

import * as api from './api';
import type { Span } from './compare';
import type { Fields, Histogram, LogRecord, Question } from './api';
import { recordOf } from './context';
import { Library } from './library.svelte';
import { indexOf, withTerm } from './query';
import { resolve } from './range';
import { Results } from './results.svelte';
import { rememberHabit, settings, usualView } from './settings.svelte';
import { Tail } from './tail.svelte';
import { isoOfNanos, MINUTE, msOf, nanosOf } from './time';
import { hasPipes } from './tokens';
import { address, asks, readView, type View } from './view';

/** How often the chart and the fields follow a tail. */
const CHART_INTERVAL_MS = 10_000;

/** What the address says; what it does not say is as this browser likes it. */
function viewHere(): View {
  settings.index = indexOf(readView(location.search).query);
  return readView(location.search, usualView());
}

export class Explorer {
  /** Whether a link to a shared view led here in its place. */
  viewGone = $state(location.pathname.startsWith('/v/'));
  view = $state.raw<View>(viewHere());
  /** What stands in the query bar; asked with Enter. */
  draft = $state(this.view.query);
  chart = $state.raw<Histogram | null>(null);
  chartLoading = $state(false);
  facets = $state.raw<Fields | null>(null);
  /** Counts questions: what was fetched for another one is out of date. */
  turn = $state(0);
  /** Whether the list of fields is in sight; where it is not, it is not asked for. */
  fieldsShown = $state(matchMedia('(min-width: 901px)').matches);
  results = new Results();
  tail = new Tail(this.results);
  library = new Library();
  /** The record the keyboard is at. */
  active = $state('');
  /** The time of the chart that was brushed last. */
  cutOutOf = $state.raw<Span | null>(null);
  private zoomedFrom: { from: string; to: string }[] = [];
  private chartControl = new AbortController();
  /** What went wrong with the chart, when that is what is told. */
  private chartFailure: api.ErrorDetail | null = null;
  private facetControl = new AbortController();

  constructor() {
    window.addEventListener('popstate', () => this.readAddress());
    setInterval(() => {
      if (this.tail.state !== 'live' || document.hidden) return;
      // One after the other: where the first gets no answer, the second is not asked.
      void this.askChart().then(() => this.results.error || this.askFacets());
    }, CHART_INTERVAL_MS);
    if (this.viewGone) history.replaceState(null, '', '/');
    history.replaceState(null, '', this.link());
    void this.run().then(() => this.library.look());
  }

  /** What was asked last; its range was fixed then, so that all its numbers agree. */
  question = $state.raw<Question>({ query: '' });

  private fix(): Question {
    const { query, to } = this.view;
    const { from } = this.range;
    // What is no time is for the node to refuse: it says how one is written.
    const start = from === null ? this.view.from : new Date(from).toISOString();
    return {
      query,
      ...(start && { from: start }),
      ...(to && { to }),
    };
  }

  /** The two ends now, in milliseconds. */
  get range() {
    return resolve(this.view, Date.now());
  }

  private link(view = this.view): string {
    return `${location.pathname}${address(view)}`;
  }

  private readAddress() {
    const before = asks(this.view);
    this.view = viewHere();
    this.draft = this.view.query;
    if (asks(this.view) !== before) void this.run();
    else if (this.view.chart && !this.chart) void this.askChart();
  }

  /** The address of what is shown, without what is open in it. */
  get savedSearch(): string {
    return address({ ...this.view, open: '', context: '', trace: '' });
  }

  /** Goes to a saved view. */
  go(search: string) {
    history.pushState(null, '', `${location.pathname}${search}`);
    this.readAddress();
  }

  /** Asks something else; a step that Back undoes. */
  ask(change: Partial<View>) {
    const query = change.query ?? this.draft;
    this.view = { ...this.view, open: '', context: '', trace: '', ...change, query: query.trim() };
    if (this.view.tail) this.view = { ...this.view, to: '' };
    this.draft = this.view.query;
    const index = indexOf(this.draft);
    if (index !== settings.index) {
      settings.index = index;
      this.view = { ...this.view, columns: settings.look.columns ?? this.view.columns };
    }
    if (this.link() !== location.pathname + location.search)
      history.pushState(null, '', this.link());
    void this.run();
  }

  /** Shows the same answer in another way. */
  show(change: Partial<View>) {
    const had = this.view;
    this.view = { ...this.view, ...change };
    // What surrounds a record is a place of its own, as is each tab: Back leads out of it.
    const isPlace = (change.context && !had.context) || change.trace || change.tab;
    if (isPlace) history.pushState(null, '', this.link());
    else history.replaceState(null, '', this.link());
    rememberHabit(this.view);
    if (change.columns) settings.keep({ columns: change.columns });
    if (this.view.chart && !had.chart) void this.askChart();
  }

  add(term: string) {
    this.ask({ query: withTerm(this.draft, term) });
  }

  async run() {
    const { query, tail } = this.view;
    this.turn += 1;
    this.question = this.fix();
    this.tail.stop();
    if (tail) this.tail.start(query);
    void this.askChart();
    void this.askFacets();
    const { turn } = this;
    await this.results.run(this.question, tail ? '' : this.view.sort);
    if (turn !== this.turn || this.results.error) return;
    this.library.asked(query);
    await this.seek(this.view.open);
  }

  /** A link to one record leads to where it lies, however far from the newest. */
  private async seek(id: string) {
    const { results } = this;
    if (!id || results.kind !== 'records' || results.records.some((one) => one.id === id)) return;
    const record = await recordOf(id, results.signal).catch(() => null);
    if (record && this.view.open === id) await this.goTo(nanosOf(record.timestamp));
  }

  cancel() {
    this.results.cancel();
    this.chartControl.abort();
    this.facetControl.abort();
    this.chartLoading = false;
  }

  get busy(): boolean {
    return this.results.running || this.results.growing !== null;
  }

  async askChart() {
    this.chartControl.abort();
    if (!this.view.chart) return void (this.chart = null);
    // A tail's chart moves on with the clock.
    const question = this.tail.on ? this.fix() : this.question;
    const { signal } = (this.chartControl = new AbortController());
    this.chartLoading = true;
    try {
      this.chart = await api.histogram(question, 80, signal);
      // A tail asks again: what failed then may be over now.
      if (this.results.error === this.chartFailure) this.results.error = null;
    } catch (failure) {
      // A wrong query is told once, by the rows; another failure is told here.
      const detail = api.detailOf(failure);
      if (!detail || detail.code === 'invalid_query' || this.results.error) return;
      this.results.error = this.chartFailure = detail;
    } finally {
      if (!signal.aborted) this.chartLoading = false;
    }
  }

  /** Fetches the fields; only where they are in sight, unless `always`. */
  async askFacets(always = false) {
    this.facetControl.abort();
    if (!this.fieldsShown && !always) return void (this.facets = null);
    const { signal } = (this.facetControl = new AbortController());
    try {
      this.facets = await api.fields(this.question, signal);
    } catch (failure) {
      const detail = api.detailOf(failure);
      if (detail && detail.code !== 'invalid_query') this.results.error ??= detail;
    }
  }

  showFields(shown: boolean) {
    this.fieldsShown = shown;
    if (shown && !this.facets) void this.askFacets();
  }

  /** How many records the question has; null when nothing that was asked says so. */
  get total(): number | null {
    return this.chart?.total ?? this.facets?.records ?? null;
  }

  brush(from: number, to: number) {
    this.zoomedFrom.push({ from: this.view.from, to: this.view.to });
    const first = this.chart?.buckets[0];
    if (this.chart && first) {
      const start = msOf(first.start);
      const end = start + this.chart.buckets.length * this.chart.interval_ms;
      this.cutOutOf = { from: start, to: end };
    }
    this.ask({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), tail: false });
  }

  /** Back to what was brushed from, else three times as much. */
  zoomOut() {
    const before = this.zoomedFrom.pop();
    if (before) return this.ask(before);
    const { from, to } = this.span();
    const half = Math.max(to - from, 1);
    this.ask({ from: new Date(from - half).toISOString(), to: this.upTo(to + half) });
  }

  /** The window before or after, as long as this one. */
  shift(windows: number) {
    const { from, to } = this.span();
    const by = (to - from) * windows;
    this.ask({
      from: new Date(from + by).toISOString(),
      to: new Date(to + by).toISOString(),
      tail: false,
    });
  }

  private upTo(ms: number): string {
    return ms >= Date.now() ? '' : new Date(ms).toISOString();
  }

  /** The range, its open ends taken from what the chart shows. */
  span(): { from: number; to: number } {
    const { from, to } = this.range;
    const first = this.chart?.buckets[0];
    const last = this.chart?.buckets.at(-1);
    const end =
      to ??
      (from === null && last ? msOf(last.start) + (this.chart?.interval_ms ?? 0) : Date.now());
    return { from: from ?? (first ? msOf(first.start) : end - 60 * MINUTE), to: end };
  }

  /** Shows a moment and what was before it; oldest first, what came behind it. */
  goTo(first: bigint, last = first): Promise<void> {
    const { results } = this;
    if (results.byField) this.show({ sort: '' });
    this.tail.pause();
    return results.jump(isoOfNanos(this.view.sort ? first : last + 1n));
  }

  toggleTail() {
    if (!this.view.tail && hasPipes(this.draft)) return;
    this.ask({ tail: !this.view.tail, to: '', sort: '' });
  }

  /** Other records in front; who reads them in order does not want them to move. */
  order(sort: string) {
    this.ask({ sort, tail: false });
  }

  toggleOpen(id: string) {
    this.active = id;
    this.show({ open: this.view.open === id ? '' : id });
    if (this.view.open) this.tail.pause();
  }

  toggleColumn(name: string) {
    const { columns } = this.view;
    const isShown = columns.includes(name);
    const others = columns.filter((column) => column !== name);
    // A new column stands before the message, which takes what width is left.
    const at = others.indexOf('message');
    const end = at < 0 ? others.length : at;
    this.show({
      columns: isShown ? others : [...others.slice(0, end), name, ...others.slice(end)],
    });
  }

  /** A link that shows the same in a year: times do not move. */
  fixedLink(): string {
    const { from, to } = this.range;
    const iso = (ms: number | null) => (ms === null ? '' : new Date(ms).toISOString());
    const view = { ...this.view, from: iso(from), to: iso(to ?? Date.now()), tail: false };
    return location.origin + this.link(view);
  }

  /** A link to one record, wherever it is stored by then. */
  lineLink(record: LogRecord): string {
    const at = msOf(record.timestamp);
    const view: View = {
      ...this.view,
      query: '',
      from: new Date(at - MINUTE).toISOString(),
      to: new Date(at + MINUTE).toISOString(),
      open: record.id,
      sort: '',
      context: '',
      trace: '',
      tail: false,
    };
    return location.origin + this.link(view);
  }
}

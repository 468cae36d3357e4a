// Every word of the page, in English. Other languages have the same shape.

import type { Dimension } from '../lib/system';
import type { Tab } from '../lib/view';

export interface Messages {
  app: Record<
    'skip' | 'help' | 'system' | 'theme' | 'language' | 'zone' | 'close' | 'more',
    string
  >;
  themes: Record<'system' | 'light' | 'dark', string>;
  bar: Record<
    | 'label'
    | 'placeholder'
    | 'run'
    | 'cancel'
    | 'tail'
    | 'stopTail'
    | 'history'
    | 'noHistory'
    | 'forgetHistory'
    | 'completions'
    | 'findHistory',
    string
  > & {
    column: (n: number) => string;
    expected: (what: string) => string;
    lookalike: (name: string, code: string, column: number) => string;
    share: (share: string) => string;
  };
  time: Record<
    | 'label'
    | 'typed'
    | 'hint'
    | 'notRead'
    | 'apply'
    | 'from'
    | 'to'
    | 'all'
    | 'now'
    | 'beginning'
    | 'zone'
    | 'utc'
    | 'local'
    | 'other'
    | 'earlier'
    | 'later'
    | 'wider'
    | 'quick',
    string
  > & { last: (length: string) => string; units: Record<'m' | 'h' | 'd' | 's' | 'w', string> };
  chart: Record<
    'label' | 'hide' | 'show' | 'table' | 'chart' | 'time' | 'total' | 'hint' | 'zoomOut',
    string
  > & {
    records: (n: string) => string;
    each: (length: string) => string;
    only: (level: string) => string;
    bar: (from: string, to: string, n: string) => string;
  };
  levels: Record<'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'unknown', string>;
  fields: Record<
    | 'label'
    | 'find'
    | 'show'
    | 'hide'
    | 'none'
    | 'only'
    | 'exclude'
    | 'exists'
    | 'missing'
    | 'column'
    | 'noColumn'
    | 'min'
    | 'avg'
    | 'max'
    | 'loading',
    string
  > & {
    present: (n: string, share: string) => string;
    more: (n: number) => string;
  };
  rows: Record<
    | 'label'
    | 'time'
    | 'level'
    | 'details'
    | 'columns'
    | 'resetColumns'
    | 'resize'
    | 'moveLeft'
    | 'moveRight'
    | 'layout'
    | 'line'
    | 'wrap'
    | 'json'
    | 'loading'
    | 'atOldest'
    | 'fold'
    | 'digits',
    string
  > & { showAll: (size: string) => string; findColumn: string };
  details: Record<
    | 'fields'
    | 'json'
    | 'raw'
    | 'context'
    | 'copyLink'
    | 'copyJson'
    | 'copyRaw'
    | 'copy'
    | 'copyTerm'
    | 'copied'
    | 'only'
    | 'exclude'
    | 'column'
    | 'close'
    | 'name'
    | 'value',
    string
  >;
  context: Record<
    'title' | 'close' | 'same' | 'everything' | 'around' | 'previous' | 'next' | 'none' | 'copy',
    string
  > & { size: (n: number) => string };
  tail: Record<
    'live' | 'paused' | 'connecting' | 'resume' | 'noPipes' | 'waitingForFirst',
    string
  > & {
    fresh: (n: string) => string;
    rate: (n: number) => string;
    lost: (n: string) => string;
  };
  status: Record<'asking' | 'stale' | 'cancelled' | 'newer', string> & {
    rows: (n: string) => string;
    of: (n: string, all: string) => string;
    took: (ms: number) => string;
    soFar: (n: string) => string;
    partial: (what: string, why: string) => string;
  };
  empty: Record<
    | 'freshTitle'
    | 'freshText'
    | 'freshFiles'
    | 'freshWaiting'
    | 'nothing'
    | 'nothingAtAll'
    | 'allTime'
    | 'withoutQuery'
    | 'copy',
    string
  > & {
    between: (from: string, to: string) => string;
    elsewhere: (n: string, from: string, to: string) => string;
  };
  errors: Record<'unreachable' | 'retry' | 'tailRefused', string>;
  table: Record<'label' | 'bar' | 'line' | 'none' | 'draw' | 'nothing' | 'drill', string> & {
    sort: (column: string) => string;
    more: (n: string) => string;
  };
  export: Record<
    | 'button'
    | 'title'
    | 'text'
    | 'format'
    | 'ndjson'
    | 'csv'
    | 'save'
    | 'curl'
    | 'copy'
    | 'link'
    | 'columns',
    string
  >;
  tabs: Record<'label' | Tab, string>;
  patterns: Record<
    'order' | 'most' | 'rarest' | 'new' | 'latest' | 'only' | 'exclude' | 'examples' | 'isNew',
    string
  > & {
    found: (n: string, records: string) => string;
    cut: (n: string) => string;
    seen: (first: string, last: string) => string;
  };
  compare: Record<'here' | 'there' | 'what' | 'pattern' | 'hint' | 'nothingThere', string> & {
    found: (n: string, records: string) => string;
  };
  trace: Record<'title' | 'search', string> & {
    found: (n: string, services: number, length: string) => string;
    cut: (n: number) => string;
    gap: (length: string) => string;
  };
  system: Record<
    | 'title'
    | 'back'
    | 'node'
    | 'name'
    | 'version'
    | 'state'
    | 'ready'
    | 'notReady'
    | 'uptime'
    | 'folder'
    | 'disk'
    | 'indexes'
    | 'records'
    | 'splits'
    | 'stored'
    | 'ofRaw'
    | 'earliest'
    | 'latest'
    | 'retention'
    | 'retentionHint'
    | 'partitions'
    | 'partition'
    | 'committed'
    | 'published'
    | 'fresh'
    | 'queue'
    | 'waiting'
    | 'shippers'
    | 'paths'
    | 'files'
    | 'lag'
    | 'lastError'
    | 'senders'
    | 'host'
    | 'service'
    | 'lastSeen'
    | 'behind'
    | 'text'
    | 'quiet'
    | 'sending'
    | 'nobody'
    | 'volume'
    | 'by'
    | 'share'
    | 'cure'
    | 'copyExclude'
    | 'whatItSays'
    | 'whoSaysIt'
    | 'none'
    | 'volumeHint',
    string
  > & {
    days: (n: number) => string;
    diskText: (used: string, free: string, share: string) => string;
    stale: (when: string) => string;
    sendersHint: (length: string) => string;
    dimensions: Record<Dimension, string>;
  };
  saved: Record<'label' | 'save' | 'name' | 'remove' | 'hint', string>;
  help: Record<'title' | 'keys' | 'language' | 'licences', string> & {
    list: [key: string, does: string][];
  };
}

export const en: Messages = {
  app: {
    skip: 'Skip to the records',
    help: 'Help and keys',
    system: 'System: node, senders, volume',
    theme: 'Theme',
    language: 'Language',
    zone: 'Time zone',
    close: 'Close',
    more: 'More',
  },
  themes: { system: 'as the system', light: 'light', dark: 'dark' },
  bar: {
    label: 'Query',
    placeholder:
      'Search everything: error  status>=500  "connection refused"  | stats count() by host',
    run: 'Run',
    cancel: 'Cancel',
    tail: 'Live tail',
    stopTail: 'Stop tail',
    history: 'Queries asked before',
    noHistory: 'Nothing was asked yet in this browser.',
    forgetHistory: 'Forget all',
    findHistory: 'Find a query',
    completions: 'Completions',
    column: (n) => `Column ${n}`,
    expected: (what) => `Expected here: ${what}`,
    lookalike: (name, code, column) =>
      `Column ${column} holds a ${name} (${code}), which is not the character it looks like.`,
    share: (share) => `${share} of records`,
  },
  time: {
    label: 'Time range',
    typed: 'Type a time',
    hint: '2h · yesterday 9-10 · 2026-11-20 14:00 to 15:30 · 1763899200',
    notRead: 'Not understood. Try 2h, yesterday 9-10, a date, or an epoch number.',
    apply: 'Apply',
    from: 'From',
    to: 'To',
    all: 'All of time',
    now: 'now',
    beginning: 'the beginning',
    zone: 'Zone of all times',
    utc: 'UTC',
    local: 'This computer',
    other: 'Another zone',
    earlier: 'Earlier: the window before',
    later: 'Later: the window after',
    wider: 'Zoom out',
    quick: 'Quick ranges',
    last: (length) => `Last ${length.replace(/^1 (\w+)s$/, '$1')}`,
    units: { s: 'seconds', m: 'minutes', h: 'hours', d: 'days', w: 'weeks' },
  },
  chart: {
    label: 'Records over time',
    hide: 'Hide chart',
    show: 'Show chart',
    table: 'As a table',
    chart: 'As a chart',
    time: 'From',
    total: 'All',
    hint: 'Drag to zoom, double-click to zoom out, click to go there. Arrow keys move, Enter zooms.',
    zoomOut: 'Zoom out',
    records: (n) => `${n} records`,
    each: (length) => `${length} a bar`,
    only: (level) => `Only ${level}`,
    bar: (from, to, n) => `${from} to ${to}: ${n} records`,
  },
  levels: {
    fatal: 'fatal',
    error: 'error',
    warn: 'warn',
    info: 'info',
    debug: 'debug',
    trace: 'trace',
    unknown: 'unknown',
  },
  fields: {
    label: 'Fields',
    find: 'Find a field',
    show: 'Show fields',
    hide: 'Hide fields',
    none: 'No fields here.',
    only: 'Only',
    exclude: 'Without',
    exists: 'Has it',
    missing: 'Lacks it',
    column: 'Show as column',
    noColumn: 'Remove column',
    min: 'min',
    avg: 'mean',
    max: 'max',
    loading: 'counting…',
    present: (n, share) => `in ${n} records (${share})`,
    more: (n) => `${n} more values`,
  },
  rows: {
    label: 'Records',
    time: 'Time',
    level: 'Level',
    details: 'Details',
    columns: 'Columns',
    resetColumns: 'Reset columns',
    resize: 'Width of',
    moveLeft: 'Move left',
    moveRight: 'Move right',
    layout: 'Layout',
    line: 'One line',
    wrap: 'Wrap',
    json: 'JSON',
    loading: 'fetching more…',
    atOldest: 'These are all.',
    fold: 'Fold',
    digits: 'Click for nanoseconds',
    findColumn: 'Find a field',
    showAll: (size) => `show all ${size}`,
  },
  details: {
    fields: 'Fields',
    json: 'JSON',
    raw: 'Raw',
    context: 'In context',
    copyLink: 'Copy link',
    copyJson: 'Copy JSON',
    copyRaw: 'Copy line',
    copy: 'Copy value',
    copyTerm: 'Copy as query',
    copied: 'Copied',
    only: 'Only this value',
    exclude: 'Without this value',
    column: 'Show as column',
    close: 'Close',
    name: 'Field',
    value: 'Value',
  },
  context: {
    title: 'In context',
    close: 'Back to the results',
    same: 'Same',
    everything: 'everything',
    around: 'Lines around',
    previous: 'Previous match',
    next: 'Next match',
    none: 'This record is no longer stored.',
    copy: 'Copy text',
    size: (n) => `±${n}`,
  },
  tail: {
    live: 'Live',
    paused: 'Paused',
    connecting: 'Connecting…',
    resume: 'Resume',
    noPipes: 'A tail takes a search without pipes.',
    waitingForFirst: 'Waiting for the first matching record…',
    fresh: (n) => `${n} new`,
    rate: (n) => `${n}/s`,
    lost: (n) => `${n} were too fast to show; run the query to see them`,
  },
  status: {
    asking: 'asking…',
    stale: 'the last good answer, to another question',
    cancelled: 'stopped: a part of the answer',
    newer: 'Newer records',
    rows: (n) => `${n} rows`,
    of: (n, all) => `${n} of ${all} rows`,
    took: (ms) => `${ms} ms`,
    soFar: (n) => `${n} so far`,
    partial: (what, why) => `Incomplete: ${what} is missing: ${why}.`,
  },
  empty: {
    freshTitle: 'Nothing is stored yet',
    freshText: 'Send a first record to this very address:',
    freshFiles: 'Or send what the files of a machine say, from now on:',
    freshWaiting: 'Records appear here by themselves.',
    nothing: 'No record matches',
    nothingAtAll: 'Nothing in this time',
    allTime: 'Search all of time',
    withoutQuery: 'Show everything in this time',
    copy: 'Copy',
    between: (from, to) => `Searched from ${from} to ${to}.`,
    elsewhere: (n, from, to) => `${n} records are stored, from ${from} to ${to}.`,
  },
  errors: {
    unreachable: 'The node does not answer. It may be stopped, or the connection is gone.',
    retry: 'Try again',
    tailRefused: 'The tail was refused.',
  },
  table: {
    label: 'Result table',
    bar: 'Bars',
    line: 'Lines',
    none: 'Table only',
    draw: 'Drawing',
    nothing: 'The table has no rows.',
    drill: 'Show the records behind this row',
    sort: (column) => `Sort by ${column}`,
    more: (n) => `Show ${n} more rows`,
  },
  export: {
    button: 'Export',
    title: 'Export the whole result',
    text: 'Every row of the query and range, not only those loaded here.',
    format: 'Format',
    ndjson: 'NDJSON',
    csv: 'CSV',
    save: 'Download',
    curl: 'The same with curl',
    copy: 'Copy',
    link: 'Copy link (fixed times)',
    columns: 'Only the columns shown',
  },
  tabs: { label: 'What to show', records: 'Records', patterns: 'Patterns', compare: 'Compare' },
  patterns: {
    order: 'Order',
    most: 'Most frequent',
    rarest: 'Rarest',
    new: 'New first',
    latest: 'Latest to appear',
    only: 'Only this pattern',
    exclude: 'Without this pattern',
    examples: 'Show examples',
    isNew: 'new',
    found: (n, records) => `${n} patterns of ${records} records`,
    cut: (n) => `the ${n} most frequent`,
    seen: (first, last) => `First seen ${first}, last seen ${last}.`,
  },
  compare: {
    here: 'Shown',
    there: 'Compared with',
    what: 'What differs',
    pattern: 'pattern',
    hint: 'Drag over a part of the chart to compare it with the rest; any other time is compared with the one before.',
    nothingThere: 'There are no records to compare with.',
    found: (n, records) => `${n} differences in ${records} records`,
  },
  trace: {
    title: 'Trace',
    search: 'Search for these',
    found: (n, services, length) =>
      `${n} records in ${length}, ${services === 1 ? 'one service' : `${services} services`}`,
    cut: (n) => `(the first ${n})`,
    gap: (length) => `${length} without a record`,
  },
  system: {
    title: 'System',
    back: 'Back to the records',
    node: 'Node',
    name: 'Name',
    version: 'Version',
    state: 'State',
    ready: 'ready',
    notReady: 'not ready',
    uptime: 'Running for',
    folder: 'Data folder',
    disk: 'Disk',
    indexes: 'Indexes',
    records: 'Records',
    splits: 'Splits',
    stored: 'Stored',
    ofRaw: 'Of raw size',
    earliest: 'Earliest',
    latest: 'Latest',
    retention: 'Kept for',
    retentionHint:
      'Change how long with index.retention_days in the settings of the node, then start it again.',
    partitions: 'Partitions',
    partition: 'Partition',
    committed: 'Accepted',
    published: 'In splits',
    fresh: 'In memory',
    queue: 'Queue',
    waiting: 'Oldest not in a split',
    shippers: 'Shippers in this node',
    paths: 'Paths',
    files: 'Files',
    lag: 'Not yet sent',
    lastError: 'Last error',
    senders: 'Who sends',
    host: 'Host',
    service: 'Service',
    lastSeen: 'Last record arrived',
    behind: 'Came late by',
    text: 'Text',
    quiet: 'quiet',
    sending: 'sending',
    nobody: 'Nobody has sent anything in 24 hours.',
    volume: 'Who logs how much',
    by: 'By',
    share: 'Share',
    cure: 'What to do',
    copyExclude: 'Copy shipper option',
    whatItSays: 'See what it says',
    whoSaysIt: 'See who says it',
    none: '(none)',
    volumeHint:
      'To store less: leave a file out with --exclude at its shipper, lower the level of the program, or keep a shorter time (index.retention_days).',
    days: (n) => `${n} days`,
    diskText: (used, free, share) => `${used} by Sawlog, ${free} free, ${share} of the disk taken`,
    stale: (when) => `What is shown is from ${when}.`,
    sendersHint: (length) =>
      `Hosts and services of the last 24 hours; quiet: nothing arrived for ${length}.`,
    dimensions: {
      service: 'Service',
      host: 'Host',
      source: 'File',
      index: 'Index',
      level: 'Level',
      _pattern: 'Pattern',
    },
  },
  saved: {
    label: 'Saved views',
    save: 'Save view',
    name: 'Name of this view',
    remove: 'Remove',
    hint: 'Kept in this browser.',
  },
  help: {
    title: 'Help',
    keys: 'Keys',
    language: 'How to ask',
    licences: 'Licences of the parts of this page',
    list: [
      ['/', 'to the query'],
      ['Enter', 'run'],
      ['Esc', 'stop the work, close what is open'],
      ['j k', 'next, previous row'],
      ['o Enter', 'open or close the row'],
      ['x', 'leave out rows like this one'],
      ['c', 'the row in its context'],
      ['t', 'live tail'],
      ['w', 'one line, wrap, JSON'],
      ['[ ]', 'the window before, after'],
      ['g', 'to the newest'],
      ['p', 'patterns, records'],
      ['?', 'this help'],
    ],
  },
};

// The words of the system page, one by one, so that no language lacks one.
import type { Dimension } from '../../lib/system';

export type SystemMessages = Record<
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
  | 'partitionsHere'
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
  | 'copyDrop'
  | 'keepShorter'
  | 'anyField'
  | 'none'
  | 'volumeHint'
  | 'gaps'
  | 'forget'
  | 'nobodyShips'
  | 'shippersHint'
  | 'change'
  | 'keepDays'
  | 'usual'
  | 'ownDays'
  | 'preview'
  | 'noneGoes'
  | 'apply'
  | 'dismiss',
  string
> & {
  copySample: (oneIn: number) => string;
  changed: (index: string, days: number) => string;
  goes: (records: string, bytes: string) => string;
  lost: (gaps: string, bytes: string) => string;
  ago: (length: string) => string;
  fileCount: (n: string) => string;
  days: (n: number) => string;
  diskText: (used: string, free: string, share: string) => string;
  stale: (when: string) => string;
  sendersHint: (length: string) => string;
  dimensions: Record<Dimension, string>;
};

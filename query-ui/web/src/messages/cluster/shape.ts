// The words about the cluster, one by one, so that no language lacks one.
import type { Condition, Step } from '../../lib/cluster';
import type { NodeChange } from '../../lib/wire';

export type ClusterMessages = Record<
  | 'cluster'
  | 'id'
  | 'seenBy'
  | 'ledBy'
  | 'nodes'
  | 'copies'
  | 'noCopies'
  | 'thisNode'
  | 'leads'
  | 'nobody'
  | 'nobodyLeads'
  | 'state'
  | 'does'
  | 'votes'
  | 'replicas'
  | 'indexes'
  | 'splits'
  | 'heard'
  | 'clock'
  | 'life'
  | 'lifeHint'
  | 'version'
  | 'act'
  | 'partitions'
  | 'partition'
  | 'leader'
  | 'indexer'
  | 'committed'
  | 'published'
  | 'behind'
  | 'empty'
  | 'unknown'
  | 'noAnswer'
  | 'dismiss'
  | 'takeOver'
  | 'onlyCopies'
  | 'removeFolder'
  | 'onlyOnce'
  | 'waits'
  | 'nowhere'
  | 'here'
  | 'alone'
  | 'aloneText'
  | 'aloneAfter',
  string
> & {
  health: Record<Condition, string>;
  change: Record<NodeChange, string>;
  confirm: Record<NodeChange, string>;
  changed: Record<NodeChange, (node: string) => string>;
  roles: Record<string, string>;
  steps: Record<Step['does'], string>;
  upOf: (up: string, all: string) => string;
  missing: (missing: string, wanted: string) => string;
  silent: (length: string) => string;
  since: (length: string) => string;
  ago: (length: string) => string;
  left: (replicas: string, splits: string) => string;
  question: (change: NodeChange, node: string) => string;
  keeps: (replicas: string, indexes: string, splits: string) => string;
};

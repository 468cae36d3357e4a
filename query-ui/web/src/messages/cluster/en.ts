// The words about the cluster in English.
import type { ClusterMessages } from './shape';

export const en: ClusterMessages = {
  cluster: 'Cluster',
  id: 'Id',
  seenBy: 'As seen by',
  ledBy: 'Led by',
  nodes: 'Nodes',
  copies: 'Copies of splits',
  noCopies: 'none wanted yet',
  thisNode: 'this node',
  leads: 'leads',
  nobody: 'nobody',
  nobodyLeads:
    'Nobody leads the cluster: a majority of the nodes that vote is not there. Start them. Nothing that was acknowledged is lost; what is new cannot be placed until then.',
  state: 'State',
  does: 'Does',
  votes: 'votes',
  replicas: 'Replicas',
  indexes: 'Indexes',
  splits: 'Splits',
  heard: 'Heard',
  clock: 'Clock',
  life: 'Starts',
  lifeHint: 'How many times it has come to the cluster',
  version: 'Version',
  act: 'Change',
  partitions: 'Partitions of the cluster',
  partition: 'Partition',
  leader: 'Leader',
  indexer: 'Indexer',
  committed: 'Accepted',
  published: 'In splits',
  behind: 'Replicas (entries behind)',
  empty: 'keeps nothing any more: it can be removed',
  unknown: 'unknown',
  noAnswer: 'no answer',
  dismiss: 'Cancel',
  takeOver:
    'Others make the copies that it has, then lead and index in its place. It stays in the cluster, goes on answering, and takes no new work until it is taken back.',
  onlyCopies: 'What nobody else keeps is lost.',
  removeFolder:
    'Others make the copies that it had. It does not come back: its data folder is of no use afterwards.',
  onlyOnce:
    'Fewer than three nodes are left then: each partition is kept by one node only, and a machine that breaks takes records with it. Start another node first.',
  waits:
    'Fewer than three nodes are left to keep its partitions: it keeps its replicas until another one has come. Start another node first.',
  nowhere: 'No other node takes records: what it keeps has nowhere to go.',
  here: 'This page is served by it.',
  alone: 'This node is on its own',
  aloneText:
    'Three nodes keep every record three times and go on when one of them fails. Stop this node and start it again with the first command: it keeps what it has. Then start the others.',
  aloneAfter: 'They appear here as soon as they have joined.',
  health: { up: 'up', down: 'down', draining: 'draining', gone: 'gone', unheard: 'not heard' },
  change: { drain: 'Drain', undrain: 'Take back', remove: 'Remove' },
  confirm: { drain: 'Drain it', undrain: 'Take it back', remove: 'Remove it' },
  changed: {
    drain: (node) => `${node} is being drained`,
    undrain: (node) => `${node} takes work again`,
    remove: (node) => `${node} is out of the cluster`,
  },
  roles: { ingest: 'ingest', index: 'index', query: 'query' },
  steps: {
    certificates:
      'Once, anywhere: certificates. Copy certs/nodeN to each machine, and keep ca.key.',
    found: 'This node, which founds the cluster:',
    join: 'Another node, which joins:',
  },
  upOf: (up, all) => `${up} of ${all} up`,
  missing: (missing, wanted) => `${missing} of ${wanted} missing`,
  silent: (length) =>
    `This node has heard nothing of its cluster for ${length}. What it says below may be old, and its answers may lack the newest records. Look at its network, or ask another node.`,
  since: (length) => `for ${length}`,
  ago: (length) => `${length} ago`,
  left: (replicas, splits) => `${replicas} replicas and ${splits} splits left`,
  question: (change, node) =>
    change === 'drain'
      ? `Drain ${node}?`
      : change === 'remove'
        ? `Remove ${node}?`
        : `Take ${node} back?`,
  keeps: (replicas, indexes, splits) =>
    `It keeps ${replicas} replicas and ${splits} splits, and indexes ${indexes} partitions.`,
};

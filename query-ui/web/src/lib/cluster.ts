// A cluster as the page tells it: names that are short, what a change of a node leads to, and how a
// node on its own becomes one of several.

import { en } from '../messages/cluster/en';
import type { ClusterMessages } from '../messages/cluster/shape';
import { zh } from '../messages/cluster/zh';
import type { Cluster, ClusterNode } from './wire';
import { settings } from './settings.svelte';

/** The words about the cluster in the reader's language. */
export const clusterWords = (): ClusterMessages => (settings.language === 'zh' ? zh : en);

const ID_SHOWN = 8;
/** From so many nodes on that take records each partition is kept so many times; else once. */
const REPLICAS = 3;
/** A node that has heard nothing of its cluster for so long may be wrong in all it says. */
export const SILENT_MS_MAX = 3_000;
/** Nodes whose clocks are further apart need a look: times of records are compared. */
export const CLOCK_MS_MAX = 500;
/** A replica that is further behind needs a look. */
export const LAG_MAX = 1_000;

/** The beginning of an id, as long as it names one node. */
export function shortId(cluster: Cluster, id: string): string {
  const short = id.slice(0, ID_SHOWN);
  const alike = cluster.nodes.filter((node) => node.id.startsWith(short)).length;
  return alike > 1 ? id : short;
}

/** How a node is: what the cluster decided, or `unheard` when nothing is decided of it. */
export type Condition = ClusterNode['health'] | 'unheard';

/** Whether the answering node hears nothing of its cluster: what it knows may be old. */
export const isSilent = (cluster: Cluster) => cluster.silent_ms > SILENT_MS_MAX;

/** Nobody leads whom a majority follows. */
export const isLeaderless = (cluster: Cluster) =>
  !cluster.leader || (cluster.leader === cluster.node && isSilent(cluster));

/** What a silent node says of others is what it heard last. */
export function conditionOf(cluster: Cluster, node: ClusterNode): Condition {
  const answers = node.health === 'up' || node.health === 'draining';
  if (node.id === cluster.node || !answers || !isSilent(cluster)) return node.health;
  return (node.heard_ms_ago ?? Infinity) > SILENT_MS_MAX ? 'unheard' : node.health;
}

const GRADES = { down: 0, unheard: 1, gone: 2, draining: 3, up: 4 };

/** Those that need a look first, else by their addresses. */
export function sortedNodes(cluster: Cluster): ClusterNode[] {
  const byAddress = new Intl.Collator('en', { numeric: true });
  const grade = (node: ClusterNode) => GRADES[conditionOf(cluster, node)];
  return cluster.nodes.toSorted((a, b) => grade(a) - grade(b) || byAddress.compare(a.http, b.http));
}

/** How many nodes keep each partition when one of them is drained or taken out. */
export function copiesWithout(cluster: Cluster, id: string): number {
  const keeps = ({ health, roles }: ClusterNode) =>
    (health === 'up' || health === 'down') && roles.split(',').includes('ingest');
  const left = cluster.nodes.filter((node) => node.id !== id && keeps(node)).length;
  return left < REPLICAS ? Math.min(left, 1) : REPLICAS;
}

/** Whether nothing is kept or done by it any more. */
export const isEmpty = (node: ClusterNode) =>
  node.replicas === 0 && node.splits === 0 && node.indexing === 0;

export interface Step {
  does: 'certificates' | 'found' | 'join';
  command: string;
}

const NODE_PORT = 7410;

/** The commands that make a cluster of the node at an address and two more. */
export function recipe(hostname: string, port: string, folder: string): Step[] {
  const first = Number(port) || NODE_PORT;
  if (hostname === 'localhost' || hostname.startsWith('127.')) {
    const start = (path: string, at: number) =>
      `sawlog node --data-dir ${path} --listen 127.0.0.1:${at}`;
    const join = (n: number): Step => ({
      does: 'join',
      command: `${start(word(`${folder}-${n}`), first + 10 * (n - 1))} --join 127.0.0.1:${first + 1}`,
    });
    return [
      { does: 'found', command: `${start(word(folder), first)} --bootstrap` },
      join(2),
      join(3),
    ];
  }
  const isAddress = /^[\d.]+$|^\[/.test(hostname);
  const host = isAddress ? hostname : 'ADDRESS1';
  const start = (n: number) =>
    `sawlog node --data-dir ${word(folder)} --listen ${n === 1 ? host : `ADDRESS${n}`}:${first} --cluster-tls certs/node${n}`;
  const join = (n: number): Step => ({
    does: 'join',
    command: `${start(n)} --join ${host}:${first + 1}`,
  });
  return [
    { does: 'certificates', command: 'sawlog cluster certs certs node1 node2 node3' },
    { does: 'found', command: `${start(1)} --bootstrap` },
    join(2),
    join(3),
  ];
}

/** A path as one word of a shell. */
const word = (path: string) =>
  /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;

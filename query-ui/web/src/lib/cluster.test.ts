import { expect, test } from 'vitest';
import { conditionOf, copiesWithout, isLeaderless, recipe, shortId, sortedNodes } from './cluster';
import type { Cluster, ClusterNode } from './wire';

const node = (id: string, health: ClusterNode['health'], roles = 'ingest,index,query') =>
  ({ id, health, roles, http: `10.0.0.${id.length}:7410` }) as ClusterNode;
const clusterOf = (...nodes: ClusterNode[]) => ({ nodes }) as Cluster;

test('ids are short as long as they name one node', () => {
  const cluster = clusterOf(
    node('11219aa26ad188db', 'up'),
    node('11219aa2ffffffff', 'up'),
    node('0bb8b01a83a5dac7', 'up'),
  );
  expect(shortId(cluster, '0bb8b01a83a5dac7')).toBe('0bb8b01a');
  expect(shortId(cluster, '11219aa26ad188db')).toBe('11219aa26ad188db');
});

test('nodes that need a look come first', () => {
  const cluster = clusterOf(
    node('a', 'up'),
    node('bb', 'gone'),
    node('ccc', 'draining'),
    node('dddd', 'down'),
  );
  expect(sortedNodes(cluster).map(({ id }) => id)).toEqual(['dddd', 'bb', 'ccc', 'a']);
});

test('fewer than three nodes keep each partition once', () => {
  const three = [node('a', 'up'), node('b', 'up'), node('c', 'down')];
  expect(copiesWithout(clusterOf(...three), 'a')).toBe(1);
  expect(copiesWithout(clusterOf(...three, node('d', 'up')), 'a')).toBe(3);
  expect(copiesWithout(clusterOf(...three, node('d', 'draining')), 'a')).toBe(1);
  expect(copiesWithout(clusterOf(...three, node('d', 'up', 'query')), 'a')).toBe(1);
  expect(copiesWithout(clusterOf(node('a', 'up')), 'a')).toBe(0);
});

test('a cluster on one machine needs three commands, elsewhere certificates as well', () => {
  expect(recipe('localhost', '7410', './data').map(({ command }) => command)).toEqual([
    'sawlog node --data-dir ./data --listen 127.0.0.1:7410 --bootstrap',
    'sawlog node --data-dir ./data-2 --listen 127.0.0.1:7420 --join 127.0.0.1:7411',
    'sawlog node --data-dir ./data-3 --listen 127.0.0.1:7430 --join 127.0.0.1:7411',
  ]);
  const remote = recipe('10.0.0.1', '7410', "/var/lib/it's");
  expect(remote.map(({ does }) => does)).toEqual(['certificates', 'found', 'join', 'join']);
  expect(remote[1]?.command).toBe(
    `sawlog node --data-dir '/var/lib/it'\\''s' --listen 10.0.0.1:7410 --cluster-tls certs/node1 --bootstrap`,
  );
  expect(recipe('logs.example.org', '', '/d')[2]?.command).toBe(
    'sawlog node --data-dir /d --listen ADDRESS2:7410 --cluster-tls certs/node2 --join ADDRESS1:7411',
  );
});

test('a leader that no majority follows leads nobody, and what it did not hear of is unheard', () => {
  const [a, b, c] = [node('a', 'up'), node('b', 'up'), node('c', 'down')];
  const cluster = { ...clusterOf(a, { ...b, heard_ms_ago: 9000 }, c), node: 'a', leader: 'a' };
  expect(isLeaderless({ ...cluster, silent_ms: 700 })).toBe(false);
  expect(isLeaderless({ ...cluster, silent_ms: 700, leader: '' })).toBe(true);
  expect(isLeaderless({ ...cluster, silent_ms: 9000, leader: 'b' })).toBe(false);
  const alone = { ...cluster, silent_ms: 9000 };
  expect(isLeaderless(alone)).toBe(true);
  expect(alone.nodes.map((one) => conditionOf(alone, one))).toEqual(['up', 'unheard', 'down']);
});

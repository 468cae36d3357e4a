// The words about the cluster in Simplified Chinese.
import type { ClusterMessages } from './shape';

export const zh: ClusterMessages = {
  cluster: '集群',
  id: '标识',
  seenBy: '观察者',
  ledBy: '领导者',
  nodes: '节点',
  copies: '分片副本',
  noCopies: '尚不需要',
  thisNode: '本节点',
  leads: '领导者',
  nobody: '无',
  nobodyLeads:
    '集群没有领导者：多数有表决权的节点不在线。请启动它们。已确认的记录不会丢失；在此之前无法作出新的分配。',
  state: '状态',
  does: '职责',
  votes: '表决',
  replicas: '副本',
  indexes: '索引分区',
  splits: '分片',
  heard: '最近心跳',
  clock: '时钟',
  life: '启动次数',
  lifeHint: '它加入集群的次数',
  version: '版本',
  act: '更改',
  partitions: '集群的分区',
  partition: '分区',
  leader: '领导者',
  indexer: '索引者',
  committed: '已接收',
  published: '已写入分片',
  behind: '副本（落后条目数）',
  empty: '已不保存任何内容：可以移除',
  unknown: '未知',
  noAnswer: '无应答',
  dismiss: '取消',
  takeOver:
    '其他节点会复制它的内容，然后接替它的领导与索引工作。它仍留在集群中并继续应答查询，但在恢复之前不再接受新工作。',
  onlyCopies: '只有它保存的内容会丢失。',
  removeFolder: '其他节点会补齐它原有的副本。它不会再回来：其数据目录从此无用。',
  onlyOnce:
    '此后剩余节点少于三个：每个分区只由一个节点保存，机器损坏会导致记录丢失。请先启动另一个节点。',
  waits:
    '能保存其分区的节点将少于三个：在另一个节点加入之前，它会保留自己的副本。请先启动另一个节点。',
  nowhere: '没有其他节点接收记录：它保存的内容无处可去。',
  here: '此页面由它提供。',
  alone: '此节点单独运行',
  aloneText:
    '三个节点会把每条记录保存三份，其中一个失效时仍可继续工作。停止此节点，用第一条命令重新启动（已有内容会保留），然后启动其他节点。',
  aloneAfter: '它们加入后会立即显示在这里。',
  health: { up: '在线', down: '离线', draining: '排空中', gone: '已离去', unheard: '无消息' },
  change: { drain: '排空', undrain: '恢复', remove: '移除' },
  confirm: { drain: '确认排空', undrain: '确认恢复', remove: '确认移除' },
  changed: {
    drain: (node) => `正在排空 ${node}`,
    undrain: (node) => `${node} 重新接受工作`,
    remove: (node) => `${node} 已移出集群`,
  },
  roles: { ingest: '接收', index: '索引', query: '查询' },
  steps: {
    certificates:
      '在任意机器上执行一次：生成证书。把 certs/nodeN 复制到各台机器，并妥善保管 ca.key。',
    found: '此节点，创建集群：',
    join: '另一个节点，加入集群：',
  },
  upOf: (up, all) => `${all} 个中有 ${up} 个在线`,
  missing: (missing, wanted) => `${wanted} 份中缺少 ${missing} 份`,
  silent: (length) =>
    `此节点已有 ${length} 没有收到集群的消息。下面的内容可能已过时，其查询结果可能缺少最新的记录。请检查它的网络，或询问另一个节点。`,
  since: (length) => `已 ${length}`,
  ago: (length) => `${length}前`,
  left: (replicas, splits) => `剩余 ${replicas} 个副本和 ${splits} 个分片`,
  question: (change, node) =>
    change === 'drain'
      ? `排空 ${node}？`
      : change === 'remove'
        ? `移除 ${node}？`
        : `恢复 ${node}？`,
  keeps: (replicas, indexes, splits) =>
    `它保存 ${replicas} 个副本和 ${splits} 个分片，并为 ${indexes} 个分区建立索引。`,
};

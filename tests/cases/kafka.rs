//! Kafka's topics against librdkafka's own broker of tests: each message is stored once, whatever
//! dies, and wherever the group's place at the broker is.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tests::process::{Node, TINY, free_address, refuses};
use tests::wait::{eventually, pace};

const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

type Broker = MockCluster<'static, DefaultProducerContext>;

struct Scene {
    folder: tempfile::TempDir,
    broker: Broker,
    producer: BaseProducer,
    address: String,
    /// Messages written so far.
    count: u64,
}

fn scene() -> Scene {
    let broker: Broker = MockCluster::new(1).unwrap();
    broker.create_topic("orders", PARTITIONS, 1).unwrap();
    let producer = client(&broker).create().unwrap();
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    Scene { folder, broker, producer, address, count: 0 }
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers()).set("group.id", "shop");
    config
}

impl Scene {
    /// A node that reads the topic; it waits for its turn in the group as short as it may.
    fn node(&self) -> Node {
        let settings = format!(
            "{TINY}\n[[kafka]]\nname = 'shop'\nbrokers = ['{}']\ntopics = ['^ord']\n\
             labels = {{ env = 'test' }}\n[kafka.properties]\n'session.timeout.ms' = '6000'\n",
            self.broker.bootstrap_servers()
        );
        Node::begin("node", self.folder.path(), &self.address, &settings, &[])
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            let (number, key) = (self.count, format!("key {}", self.count % 7));
            let value = json!({ "msg": format!("order {number}"), "number": number }).to_string();
            let headers = OwnedHeaders::new().insert(Header { key: "by", value: Some("tests") });
            let record = BaseRecord::to("orders").key(&key).payload(&value).headers(headers);
            self.producer.send(record).unwrap();
            self.count += 1;
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Says that the group is somewhere else.
    fn place(&self, at: impl Fn(i64) -> i64) {
        let mut config = client(&self.broker);
        config.set("enable.auto.commit", "false").set("session.timeout.ms", "6000");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        let consumer: BaseConsumer = config.create().unwrap();
        // Only a member may say it.
        consumer.subscribe(&["orders"]).unwrap();
        eventually("all partitions to be given", || {
            drop(consumer.poll(Duration::from_millis(100)));
            (consumer.assignment().ok()?.count() == usize::try_from(PARTITIONS).ok()?).then_some(())
        });
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let (_, end) = consumer.fetch_watermarks("orders", partition, PATIENCE).unwrap();
            list.add_partition_offset("orders", partition, Offset::Offset(at(end))).unwrap();
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
        consumer.unsubscribe();
        eventually("all partitions to be given back", || {
            drop(consumer.poll(Duration::from_millis(100)));
            (consumer.assignment().ok()?.count() == 0).then_some(())
        });
    }

    /// All that was written is there, each once.
    fn check(&self, node: &Node) -> Vec<Value> {
        node.client.expect_records(self.count);
        let rows = node.client.rows(&json!({ "query": "topic:orders", "limit": 0 }));
        let mut times: HashMap<u64, u64> = HashMap::new();
        for row in &rows {
            *times.entry(row["fields"]["number"].as_u64().unwrap()).or_default() += 1;
        }
        let wrong: Vec<_> =
            (0..self.count).filter(|number| times.get(number) != Some(&1)).take(5).collect();
        assert!(wrong.is_empty() && rows.len() as u64 == self.count, "{wrong:?} of {}", rows.len());
        rows
    }
}

#[test]
fn each_message_is_stored_once_whenever_the_node_is_killed() {
    let mut scene = scene();
    for round in 0..5 {
        let mut node = scene.node();
        scene.write(400);
        // In the middle of joining, of reading, of telling the broker.
        pace(Duration::from_millis(300 + 700 * round));
        node.process.kill();
    }
    scene.write(1);
    let mut node = scene.node();
    let rows = scene.check(&node);
    let row = &rows[0];
    let fields = &row["fields"];
    assert_eq!(row["labels"]["env"], "test");
    assert_eq!(fields["kafka.headers.by"], "tests");
    assert_eq!(fields["kafka.key"], format!("key {}", fields["number"].as_u64().unwrap() % 7));
    assert!(
        row["labels"]["topic_partition"].is_string() && fields["kafka.offset"].is_u64(),
        "{row}"
    );
    let metrics = node.client.send("GET", "/metrics", &[], Vec::new()).unwrap().body;
    assert!(metrics.contains("ingest_door_records_total{door=\"kafka\"}"), "{metrics}");
    assert!(node.process.stop(), "the node did not end well");
}

#[test]
fn the_place_that_counts_is_the_one_in_the_queue() {
    let mut scene = scene();
    let mut node = scene.node();
    scene.write(300);
    scene.check(&node);
    assert!(node.process.stop());
    // What the broker forgot is recognised.
    scene.place(|_| 0);
    let mut node = scene.node();
    scene.write(10);
    scene.check(&node);
    assert!(node.process.stop());
    // What it believes to be read is read all the same.
    scene.write(30);
    scene.place(|end| end);
    let node = scene.node();
    for _ in 0..10 {
        scene.write(5);
    }
    scene.check(&node);
}

#[test]
fn settings_that_cannot_be_are_refused_in_words() {
    let both = ["node", "--kafka-brokers", "127.0.0.1:1"];
    refuses("sawlog", &both, &["--kafka-topics"]);
}

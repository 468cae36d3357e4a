//! Settings of topics that are read from Kafka: as typed, and as the door takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use ingest::doors::{KafkaSource, Start};
use model::stream::IndexName;
use serde::{Deserialize, Serialize};

use crate::args::NodeArgs;

/// Sources of one node; each has a few threads.
const SOURCES_MAX: usize = 16;

/// Topics of one group of brokers, `[[kafka]]` in the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaConfig {
    /// Consumer group, and what places are remembered by.
    #[serde(default = "name")]
    pub(crate) name: String,
    /// Brokers to begin with.
    pub(crate) brokers: Vec<String>,
    /// Topics, or patterns that begin with `^`.
    pub(crate) topics: Vec<String>,
    /// Where to begin: earliest or latest.
    #[serde(default = "start")]
    pub(crate) start: String,
    /// The index that takes the records.
    #[serde(default = "index")]
    pub(crate) index: String,
    /// File with the password of SASL.
    pub(crate) password_file: Option<PathBuf>,
    /// Labels of every record.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// What else librdkafka is told.
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, String>,
}

fn name() -> String {
    "sawlog".to_owned()
}

fn start() -> String {
    "earliest".to_owned()
}

fn index() -> String {
    IndexName::default().as_str().to_owned()
}

impl KafkaConfig {
    /// Those of the settings file, and one more if flags name it.
    pub(crate) fn complete(mut raw: Vec<Self>, args: &NodeArgs) -> Result<Vec<Self>> {
        let (brokers, topics) = (args.kafka_brokers.clone(), args.kafka_topics.clone());
        match (brokers.is_empty(), topics.is_empty()) {
            (true, true) => {}
            (false, false) => raw.push(Self {
                name: name(),
                brokers,
                topics,
                start: start(),
                index: index(),
                password_file: None,
                labels: BTreeMap::new(),
                properties: BTreeMap::new(),
            }),
            _ => bail!("--kafka-brokers and --kafka-topics belong together: give both"),
        }
        Ok(raw)
    }

    /// Checks all of them.
    pub(crate) fn check(all: &[Self]) -> Result<()> {
        ensure!(all.len() <= SOURCES_MAX, "at most {SOURCES_MAX} [[kafka]] can be set");
        let mut names = BTreeSet::new();
        for one in all {
            ensure!(
                names.insert(&one.name),
                "two [[kafka]] are named {:?}: places are remembered by name, so each needs its own",
                one.name
            );
            ensure!(!one.name.is_empty(), "a [[kafka]] has an empty name");
            ensure!(!one.brokers.is_empty(), "kafka {:?}: name a broker: HOST:PORT", one.name);
            ensure!(!one.topics.is_empty(), "kafka {:?}: name a topic", one.name);
            one.source(None)?.check()?;
        }
        Ok(())
    }

    /// What the door is told, with the password read.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "there is no door to tell"))]
    pub(crate) fn with_password(&self) -> Result<KafkaSource> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the password in {}", path.display()))?;
            anyhow::Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        };
        self.source(self.password_file.as_ref().map(read).transpose()?)
    }

    fn source(&self, password: Option<String>) -> Result<KafkaSource> {
        let start = match self.start.as_str() {
            "earliest" => Start::Earliest,
            "latest" => Start::Latest,
            other => bail!(
                "kafka {:?}: start is {other:?}: it can be \"earliest\" or \"latest\"",
                self.name
            ),
        };
        let index = IndexName::new(&self.index)
            .with_context(|| format!("kafka {:?}: the index", self.name))?;
        Ok(KafkaSource {
            name: self.name.clone(),
            brokers: self.brokers.clone(),
            topics: self.topics.clone(),
            start,
            index,
            labels: self.labels.clone().into_iter().collect(),
            properties: self.properties.clone(),
            password,
        })
    }
}

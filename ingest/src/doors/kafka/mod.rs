//! Kafka: topics of a broker are read as a member of a consumer group. The place in a topic is the
//! producer's sequence in the queue, so each message is stored once, whatever dies or is repeated.

#[cfg(feature = "kafka")]
mod consume;
#[cfg(feature = "kafka")]
mod listener;
#[cfg(feature = "kafka")]
mod message;
#[cfg(feature = "kafka")]
mod run;
#[cfg(feature = "kafka")]
mod store;

use std::collections::BTreeMap;

use model::stream::{IndexName, Labels, LabelsError};

#[cfg(feature = "kafka")]
pub use consume::Kafka;

/// Where a group begins that has no place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest message there is.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// Topics to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSource {
    /// The consumer group; also what the place in each topic is remembered by.
    pub name: String,
    /// Brokers to begin with, `HOST:PORT`.
    pub brokers: Vec<String>,
    /// Topics; `^…` is a pattern.
    pub topics: Vec<String>,
    /// Where to begin.
    pub start: Start,
    /// The index that takes the records.
    pub index: IndexName,
    /// Labels of every record, beside `topic` and `partition`.
    pub labels: Vec<(String, String)>,
    /// What else librdkafka is told, by its own names.
    pub properties: BTreeMap<String, String>,
    /// The password of SASL.
    pub password: Option<String>,
}

/// Why topics cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The program was built without it.
    #[error(
        "this program was built without Kafka: build it with its default features, or take [[kafka]] out of the settings"
    )]
    NotBuilt,
    /// A setting is Sawlog's own.
    #[error("kafka {name:?}: {property} is set by Sawlog: {instead}")]
    Owned {
        /// The source.
        name: String,
        /// The property.
        property: String,
        /// What to do.
        instead: &'static str,
    },
    /// The labels are none.
    #[error("kafka {name:?}: the labels cannot be used")]
    Labels {
        /// The source.
        name: String,
        /// Why.
        #[source]
        source: LabelsError,
    },
    /// The library says no.
    #[cfg(feature = "kafka")]
    #[error("kafka {name:?} cannot be set up")]
    Client {
        /// The source.
        name: String,
        /// Its words.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

/// Properties that make a message stored once, with what to do instead of setting them.
const OWNED: [(&str, &str); 10] = [
    ("bootstrap.servers", "name them as brokers"),
    ("metadata.broker.list", "name them as brokers"),
    ("group.id", "it is the name of the source"),
    ("auto.offset.reset", "say start = \"earliest\" or \"latest\""),
    ("enable.auto.commit", "leave it out"),
    ("enable.auto.offset.store", "leave it out"),
    ("enable.partition.eof", "leave it out"),
    ("statistics.interval.ms", "leave it out"),
    ("sasl.password", "put it into a file and name that as password_file"),
    ("client.id", "it is the name of the source"),
];

impl KafkaSource {
    /// Whether topics can be read like this, as far as it shows without a broker.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn check(&self) -> Result<(), KafkaError> {
        if cfg!(not(feature = "kafka")) {
            return Err(KafkaError::NotBuilt);
        }
        let owned = |property: &String| OWNED.iter().find(|(known, _)| known == property);
        if let Some((property, instead)) = self.properties.keys().find_map(owned) {
            let (name, property) = (self.name.clone(), (*property).to_owned());
            return Err(KafkaError::Owned { name, property, instead });
        }
        self.labels_of("topic", 0).map(drop)
    }

    /// The labels of the records of a topic's partition.
    fn labels_of(&self, topic: &str, partition: i32) -> Result<Labels, KafkaError> {
        let own = [("topic", topic.to_owned()), ("topic_partition", partition.to_string())];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        Labels::new(self.labels.iter().cloned().chain(own).collect())
            .map_err(|source| KafkaError::Labels { name: self.name.clone(), source })
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests;

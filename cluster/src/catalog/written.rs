//! A command as it stands in the log of the metadata: JSON, with the version of the nodes' protocol
//! that it takes to carry it out. All nodes must carry out the same, so one that cannot read a
//! command stops there instead of going on without it.

use serde::{Deserialize, Serialize};

use super::command::{Command, Fence, Order};

/// The version of the first commands; it is not written.
pub(crate) const PROTOCOL_FIRST: u32 = 1;

/// What a node is told that speaks an earlier version than it takes to read the log.
pub(crate) fn too_early(theirs: u32, log: u32) -> String {
    format!(
        "it takes version {log} of the nodes' protocol to read what the cluster decided, this node speaks version {theirs}: start it with the program that the other nodes have"
    )
}

/// Why a command cannot be carried out by this program.
#[derive(Debug, thiserror::Error)]
pub enum UnreadError {
    /// It is of a later version.
    #[error(
        "the cluster decided what takes version {needed} of the nodes' protocol, and this program speaks version {known}: start this node with the program that the other nodes have"
    )]
    Newer {
        /// The version that it takes.
        needed: u32,
        /// The version that is spoken here.
        known: u32,
    },
    /// It is none of ours.
    #[error(
        "the cluster decided what this program cannot read: start this node with the program that the other nodes have"
    )]
    Unknown(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "is_first")]
    protocol: u32,
    command: &'a Command,
    fence: &'a Option<Fence>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default = "first")]
    protocol: u32,
}

fn first() -> u32 {
    PROTOCOL_FIRST
}

fn is_first(protocol: &u32) -> bool {
    *protocol == PROTOCOL_FIRST
}

/// A command as it is proposed.
pub(crate) fn write(order: &Order) -> Result<Vec<u8>, serde_json::Error> {
    write_as(order, order.command.protocol())
}

fn write_as(order: &Order, protocol: u32) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written { protocol, command: &order.command, fence: &order.fence })
}

/// Reads a command where that version is spoken, and the version that it takes.
pub(crate) fn read(bytes: &[u8], known: u32) -> Result<(Order, u32), UnreadError> {
    let head: Head = serde_json::from_slice(bytes).map_err(UnreadError::Unknown)?;
    if head.protocol > known {
        return Err(UnreadError::Newer { needed: head.protocol, known });
    }
    let order = serde_json::from_slice(bytes).map_err(UnreadError::Unknown)?;
    Ok((order, head.protocol))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::peer::PROTOCOL;

    /// Commands as the first version wrote them.
    const OF_THE_FIRST_VERSION: [&str; 19] = [
        r#"{"command":{"Publish":{"partition":3,"from":0,"to":10,"add":[{"id":"a","index":"main","partition":3,"offset_first":0,"offset_last":9,"row_count":10,"time_first":0,"time_last":9,"ingest_last":9,"level_counts":[0,0,0,10,0,0,0],"stored_bytes":100,"raw_bytes":1000,"merges":0,"deletions":0,"copies":[7,8]}]}},"fence":{"lease":"indexer/0003","token":5}}"#,
        r#"{"command":{"Replace":{"remove":["a","b"],"add":[]}},"fence":null}"#,
        r#"{"command":{"Copied":{"splits":["a"],"node":7}},"fence":null}"#,
        r#"{"command":{"Dropped":{"splits":["a"],"node":7}},"fence":null}"#,
        r#"{"command":{"BeginDeletion":{"number":0,"query":"*","filter":"All","indexes":null,"time_first":0,"time_last":9,"below":[[3,10]],"asked":5,"deleted":0,"done":null}},"fence":null}"#,
        r#"{"command":{"ProgressDeletion":{"number":1,"deleted":4,"done":9}},"fence":null}"#,
        r#"{"command":{"PutDocument":{"kind":"view","name":"v","value":"{}"}},"fence":null}"#,
        r#"{"command":{"RemoveDocument":{"kind":"view","name":"v"}},"fence":null}"#,
        r#"{"command":{"Remember":{"name":"partitions","fact":"6"}},"fence":null}"#,
        r#"{"command":{"Found":{"cluster":"00000000000000aa"}},"fence":null}"#,
        r#"{"command":{"Adopt":{"splits":[],"offsets":[[0,10]],"deletions":[],"documents":[["view","v","{}"]]}},"fence":null}"#,
        r#"{"command":{"Register":{"id":7,"address":"a:7411","http":"a:7410","roles":{"ingest":true,"index":true,"query":true},"version":"0.1.0","protocol":1,"at":5}},"fence":null}"#,
        r#"{"command":{"SetHealth":{"node":7,"epoch":1,"health":"down","since":5}},"fence":null}"#,
        r#"{"command":{"SetHealth":{"node":7,"epoch":1,"health":"draining","since":5}},"fence":null}"#,
        r#"{"command":{"Forget":7},"fence":null}"#,
        r#"{"command":{"Place":{"partition":3,"before":null,"placement":{"replicas":[{"id":9,"node":7}],"born":false}}},"fence":null}"#,
        r#"{"command":{"Place":{"partition":3,"before":{"replicas":[{"id":9,"node":7}],"born":false},"placement":{"replicas":[{"id":9,"node":7}],"born":true}}},"fence":null}"#,
        r#"{"command":{"Grant":{"lease":"retention","before":0,"node":7}},"fence":null}"#,
        r#"{"command":{"Grant":{"lease":"indexer/0003","before":4,"node":8}},"fence":null}"#,
    ];

    /// What the second version has of its own.
    const OF_THE_SECOND_VERSION: [&str; 2] = [
        r#"{"protocol":2,"command":{"Dropped":{"splits":["a"],"node":7,"least":2}},"fence":null}"#,
        r#"{"protocol":2,"command":{"SweepBefore":5},"fence":{"lease":"retention","token":5}}"#,
    ];

    /// What the third version has of its own.
    const OF_THE_THIRD_VERSION: [&str; 1] =
        [r#"{"protocol":3,"command":{"Raise":{"partitions":12}},"fence":null}"#];

    /// What the fourth version has of its own.
    const OF_THE_FOURTH_VERSION: [&str; 1] =
        [r#"{"protocol":4,"command":{"Open":{"protocol":4}},"fence":null}"#];

    /// What the fifth version has of its own.
    const OF_THE_FIFTH_VERSION: [&str; 3] = [
        r#"{"protocol":5,"command":{"Publish":{"partition":3,"from":0,"to":10,"add":[{"id":"a","index":"main","partition":3,"offset_first":0,"offset_last":9,"row_count":10,"time_first":0,"time_last":9,"ingest_last":9,"level_counts":[0,0,0,10,0,0,0],"stored_bytes":100,"raw_bytes":1000,"merges":0,"deletions":0,"copies":[7,8],"typed":true}]}},"fence":{"lease":"indexer/0003","token":5}}"#,
        r#"{"protocol":5,"command":{"Replace":{"remove":["a","b"],"add":[{"id":"c","index":"main","partition":3,"offset_first":0,"offset_last":9,"row_count":10,"time_first":0,"time_last":9,"ingest_last":9,"level_counts":[0,0,0,10,0,0,0],"stored_bytes":100,"raw_bytes":1000,"merges":1,"deletions":0,"typed":true}]}},"fence":null}"#,
        r#"{"protocol":5,"command":{"Adopt":{"splits":[{"id":"a","index":"main","partition":3,"offset_first":0,"offset_last":9,"row_count":10,"time_first":0,"time_last":9,"ingest_last":9,"level_counts":[0,0,0,10,0,0,0],"stored_bytes":100,"raw_bytes":1000,"merges":0,"deletions":0,"typed":true}],"offsets":[[0,10]],"deletions":[],"documents":[]}},"fence":null}"#,
    ];

    #[test]
    fn what_a_later_version_wrote_is_passed_over_by_nobody() {
        let second = OF_THE_SECOND_VERSION.map(|text| (2, text));
        let third = OF_THE_THIRD_VERSION.map(|text| (3, text));
        let fourth = OF_THE_FOURTH_VERSION.map(|text| (4, text));
        let fifth = OF_THE_FIFTH_VERSION.map(|text| (5, text));
        for (version, text) in second.into_iter().chain(third).chain(fourth).chain(fifth) {
            let (order, needed) = read(text.as_bytes(), PROTOCOL).unwrap();
            assert_eq!((needed, order.command.protocol()), (version, version));
            let again: Value = serde_json::from_slice(&write(&order).unwrap()).unwrap();
            assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
            let refused = read(text.as_bytes(), version - 1).unwrap_err();
            let is_newer = |needed: u32, known: u32| (needed, known) == (version, version - 1);
            assert!(
                matches!(refused, UnreadError::Newer { needed, known } if is_newer(needed, known)),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_the_first_version_wrote_is_read_and_written_as_it_was() {
        for text in OF_THE_FIRST_VERSION {
            let (order, needed) = read(text.as_bytes(), PROTOCOL).unwrap();
            assert_eq!((needed, order.command.protocol()), (PROTOCOL_FIRST, PROTOCOL_FIRST));
            let again: Value = serde_json::from_slice(&write(&order).unwrap()).unwrap();
            assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
            // The next version reads it too.
            assert_eq!(read(text.as_bytes(), PROTOCOL + 1).unwrap().0, order);
        }
    }

    #[test]
    fn that_a_split_is_cold_takes_no_later_version() {
        let marked = OF_THE_FIRST_VERSION[0].replace(r#""copies""#, r#""cold":true,"copies""#);
        let (order, needed) = read(marked.as_bytes(), PROTOCOL_FIRST).unwrap();
        let Command::Publish(publication) = &order.command else { panic!("{order:?}") };
        assert_eq!((publication.add[0].cold, needed), (true, PROTOCOL_FIRST));
        let again: Value = serde_json::from_slice(&write(&order).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(&marked).unwrap());
    }

    #[test]
    fn a_deletion_with_a_great_whole_number_takes_the_version_that_reads_it() {
        let of = |literal: &str| {
            let test = format!(r#"{{"Between":{{"from":{{"Inclusive":{literal}}},"to":"Open"}}}}"#);
            let filter = format!(r#"{{"Field":{{"name":"n","test":{test}}}}}"#);
            let begins = OF_THE_FIRST_VERSION
                .iter()
                .find(|text| text.contains("BeginDeletion"))
                .map(|text| text.replace(r#""All""#, &filter));
            read(begins.unwrap().as_bytes(), PROTOCOL).unwrap().0
        };
        assert_eq!(of(r#"{"Number":5.0}"#).command.protocol(), PROTOCOL_FIRST);
        let order = of(r#"{"Whole":"18446744073709551615"}"#);
        assert_eq!(order.command.protocol(), 4);
        let written = write(&order).unwrap();
        assert_eq!(read(&written, PROTOCOL).unwrap(), (order, 4));
        assert!(matches!(read(&written, 3), Err(UnreadError::Newer { .. })));
    }

    #[test]
    fn what_takes_a_later_version_is_read_there_alone() {
        let (order, _) = read(OF_THE_FIRST_VERSION[8].as_bytes(), PROTOCOL).unwrap();
        let later = write_as(&order, PROTOCOL + 1).unwrap();
        let refused = read(&later, PROTOCOL).unwrap_err();
        assert!(matches!(refused, UnreadError::Newer { .. }), "{refused}");
        assert!(refused.to_string().contains("the program that the other nodes have"));
        assert_eq!(read(&later, PROTOCOL + 1).unwrap(), (order, PROTOCOL + 1));
        // Programs before there were versions pass over what they do not know of a command.
        assert!(serde_json::from_slice::<Order>(&later).is_ok());
        for text in [r#"{"command":{"Dance":{}},"fence":null}"#, "", "7"] {
            let refused = read(text.as_bytes(), PROTOCOL).unwrap_err();
            assert!(matches!(refused, UnreadError::Unknown(_)), "{refused}");
        }
    }
}

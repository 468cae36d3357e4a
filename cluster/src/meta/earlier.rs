//! What nodes of version 3 of their protocol say to each other in the metadata's calls: today's program
//! reads it, and says the same.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::beat::{Beat, NodeReport};
use super::join::{Knock, Welcome};
use super::propose::Decided;

/// Who asks to come in.
const KNOCKS: [&str; 2] = [
    r#"{"id":7,"address":"a:7411","http":"a:7410","roles":{"ingest":true,"index":true,"query":false},"version":"0.1.0","protocol":3,"at":5,"store":false,"owner":null}"#,
    r#"{"id":7,"address":"a:7411","http":"","roles":{"ingest":true,"index":true,"query":true},"version":"","protocol":3,"at":5,"store":true,"owner":"aa"}"#,
];
/// What it is told.
const WELCOMES: [&str; 3] =
    [r#"{"In":{"cluster":"aa","epoch":2}}"#, r#"{"NotNow":"later"}"#, r#"{"No":"never"}"#];
/// What becomes of a command that is brought to who leads.
const DECISIONS: [&str; 14] = [
    r#"{"At":[5,{"Ok":"Done"}]}"#,
    r#"{"At":[5,{"Ok":{"Number":7}}]}"#,
    r#"{"At":[5,{"Ok":{"Was":true}}]}"#,
    r#"{"At":[5,{"Err":{"Moved":{"partition":3,"current":10,"expected":0}}}]}"#,
    r#"{"At":[5,{"Err":{"Gone":"a"}}]}"#,
    r#"{"At":[5,{"Err":{"Swept":{"split":"a","before":5}}}]}"#,
    r#"{"At":[5,{"Err":{"Fenced":{"lease":"retention","current":5}}}]}"#,
    r#"{"At":[5,{"Err":{"Changed":{"what":"the placement"}}}]}"#,
    r#"{"At":[5,{"Err":{"Stranger":{"why":"another cluster"}}}]}"#,
    r#"{"At":[0,{"Err":{"Early":{"node":7,"has":2,"needed":3}}}]}"#,
    r#"{"At":[0,{"Err":"Unknown"}]}"#,
    r#"{"At":[0,{"Ok":"Done"}]}"#,
    r#""NotLeader""#,
    r#"{"Open":"no majority"}"#,
];
/// What a node says of itself.
const BEATS: [&str; 1] = [r#"{"node":7,"epoch":2,"now":5}"#];
/// What the leader heard.
const REPORTS: [&str; 1] = [r#"{"node":7,"heard_ms_ago":9,"clock_ahead_ms":-2}"#];

#[track_caller]
fn check<T: DeserializeOwned + Serialize>(texts: &[&str]) {
    for text in texts {
        let read: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let said = serde_json::to_value(&read).unwrap();
        assert_eq!(said, serde_json::from_str::<Value>(text).unwrap());
    }
}

#[test]
fn what_the_version_before_says_is_read_and_said_as_it_is() {
    check::<Knock>(&KNOCKS);
    check::<Welcome>(&WELCOMES);
    check::<Decided>(&DECISIONS);
    check::<Beat>(&BEATS);
    check::<NodeReport>(&REPORTS);
}

#[test]
fn what_is_not_known_of_it_is_passed_over() {
    let more = |text: &str| text.replacen('{', r#"{"colour":"green","#, 1);
    let knock: Knock = serde_json::from_str(&more(KNOCKS[0])).unwrap();
    assert_eq!(serde_json::to_value(&knock).unwrap()["protocol"], 3);
    let beat: Beat = serde_json::from_str(&more(BEATS[0])).unwrap();
    assert_eq!(beat, serde_json::from_str(BEATS[0]).unwrap());
    let report: NodeReport = serde_json::from_str(&more(REPORTS[0])).unwrap();
    assert_eq!(report, serde_json::from_str(REPORTS[0]).unwrap());
}

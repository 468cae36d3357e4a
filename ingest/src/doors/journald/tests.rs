//! Uploads of journals through the door.

use proptest::prelude::*;

use crate::doors::tests::{field, fixture};

const AGENT: (&str, &str) = ("user-agent", "systemd-journal-upload 257");

fn journal(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let entry = |number: u64| {
        let time = 1_700_000_000_000_000 + number;
        format!(
            "__CURSOR=s=aa;i={number:x};b=1\n__REALTIME_TIMESTAMP={time}\n_HOSTNAME=web1\n\
             PRIORITY=4\nMESSAGE=entry {number}\n\n"
        )
    };
    numbers.flat_map(|number| entry(number).into_bytes()).collect()
}

#[tokio::test]
async fn what_is_sent_again_after_a_break_is_stored_once() {
    let fixture = fixture();
    // Numbers of entries have gaps where other files took some.
    for (body, total) in [
        (journal(5..20), 15),
        (journal(5..20), 15),
        (journal(12..30), 25),
        ([journal(28..31), journal(40..45)].concat(), 31),
    ] {
        let (status, answer) = fixture.ask("POST", "/upload", &[AGENT], body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(fixture.records().len(), total);
    }
    let records = fixture.records();
    let texts: Vec<String> = records.iter().map(|record| record.message.clone()).collect();
    let expected: Vec<String> = (5..31).chain(40..45).map(|n| format!("entry {n}")).collect();
    assert_eq!(texts, expected);
    assert_eq!(
        (records[0].level.name(), records[0].timestamp.unwrap().0),
        ("warn", 1_700_000_000_000_005_000)
    );
    assert!(field(&records[0], "journal_cursor").unwrap().starts_with("s=aa;i=5"));
    let labels = fixture.labels();
    assert!(
        labels.iter().all(|l| (l.get("source"), l.get("host")) == (Some("journal"), Some("web1")))
    );
}

#[tokio::test]
async fn by_others_an_older_part_may_come_later() {
    let fixture = fixture();
    for body in [journal(50..60), journal(10..20)] {
        let (status, answer) = fixture.ask("POST", "/upload", &[], body).await;
        assert_eq!((status.as_u16(), answer.as_str()), (200, "10 entries stored.\n"));
    }
    assert_eq!(fixture.records().len(), 20);
}

#[tokio::test]
async fn what_came_before_a_fault_is_stored() {
    let fixture = fixture();
    let body = [journal(0..3), b"MESSAGE=half".to_vec()].concat();
    let (status, _) = fixture.ask("POST", "/upload", &[AGENT], body).await;
    assert_eq!((status.as_u16(), fixture.records().len()), (400, 3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered_and_cost_no_neighbour(garbage: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let body = [journal(0..3), garbage].concat();
            let (status, answer) = fixture.ask("POST", "/upload", &[AGENT], body).await;
            assert!(status.is_success() || status.is_client_error(), "{status} {answer}");
            let (status, answer) = fixture.ask("POST", "/upload", &[AGENT], journal(100..102)).await;
            assert_eq!(status.as_u16(), 200, "{answer}");
            let records = fixture.records();
            for number in [0, 1, 2, 100, 101] {
                let text = format!("entry {number}");
                let count = records.iter().filter(|record| record.message == text).count();
                assert_eq!(count, 1, "{text}: {records:?}");
            }
        });
    }
}

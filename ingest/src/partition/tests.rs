//! What is acknowledged is there after any restart, once, in order; what is refused left nothing.

use std::sync::atomic::Ordering;

use model::batch::BatchBuilder;
use model::codec;
use model::record::Record;
use model::stream::{IndexName, Labels};
use platform::disk::Faults;
use platform::telemetry::Metrics;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    faults: Arc<Faults>,
    settings: PartitionSettings,
}

impl Fixture {
    fn new() -> Self {
        let settings = PartitionSettings {
            segment_bytes_max: 600,
            recent_bytes_max: 1,
            disk_free_bytes_min: 0,
            ..PartitionSettings::default()
        };
        Self { folder: tempfile::tempdir().unwrap(), faults: Arc::default(), settings }
    }

    fn open(&self) -> Partition {
        Partition::open(
            self.folder.path(),
            PartitionId(0),
            Disk::faulty(self.faults.clone()),
            Clock::system(),
            self.settings.clone(),
            IngestMetrics::new(&Metrics::default()),
        )
        .unwrap()
    }
}

fn batch(producer: u64, from: u64, to: u64, messages: &[&str]) -> Checked {
    let mut builder = BatchBuilder::new(IndexName::default(), Labels::default());
    for message in messages {
        let record = Record { message: (*message).to_owned(), ..Record::default() };
        builder.push(record, Timestamp(0));
    }
    let sequence = Sequence { producer, epoch: 0, from, to };
    let bytes = codec::encode(&builder.finish(), sequence).unwrap();
    Checked::new(&codec::head(&bytes).unwrap(), bytes)
}

fn messages(partition: &Partition, from: u64) -> Vec<String> {
    let mut all = Vec::new();
    let mut at = Offset(from);
    loop {
        let entries = partition.read(at, 1).unwrap();
        let Some(last) = entries.last() else { return all };
        at = last.end();
        for entry in &entries {
            let (_, batch) = codec::decode(&entry.batch).unwrap();
            all.extend(batch.messages.iter().map(str::to_owned));
        }
    }
}

#[tokio::test]
async fn batches_are_read_back_in_order_over_segments_and_restarts() {
    let fixture = Fixture::new();
    let mut expected = Vec::new();
    for round in 0..4_u64 {
        let partition = fixture.open();
        for step in 0..5_u64 {
            let text = format!("{round}-{step}");
            let from = round * 5 + step;
            let appended =
                partition.append(vec![batch(7, from, from + 1, &[&text])]).await.unwrap();
            let first = Some(RecordId { partition: PartitionId(0), offset: Offset(from) });
            let taken = Appended { record_count: 1, duplicate: false, next: from + 1, first };
            assert_eq!(appended[0], taken);
            expected.push(text);
        }
        assert_eq!(messages(&partition, 0), expected);
        assert_eq!(messages(&partition, 3), expected[3..]);
        partition.stop();
    }
    assert!(std::fs::read_dir(fixture.folder.path()).unwrap().count() > 3);
}

#[tokio::test]
async fn a_resend_is_a_no_op_also_after_a_restart_and_a_trim() {
    let fixture = Fixture::new();
    let partition = fixture.open();
    for at in 0..20 {
        partition.append(vec![batch(7, at, at + 1, &["x"])]).await.unwrap();
    }
    partition.trim(Offset(20));
    partition.stop();
    let partition = fixture.open();
    let again = partition.append(vec![batch(7, 0, 1, &["x"])]).await.unwrap();
    assert_eq!(again[0], Appended { record_count: 0, duplicate: true, next: 20, first: None });
    let overlap = partition.append(vec![batch(7, 19, 21, &["x", "y"])]).await;
    assert!(matches!(overlap, Err(AppendError::Sequence { next: 20 })));
    assert!(matches!(partition.read(Offset(0), 1), Err(QueueError::Trimmed { .. })));
    partition.append(vec![batch(7, 20, 21, &["y"])]).await.unwrap();
    assert_eq!(*partition.committed().borrow(), Offset(21));
}

#[tokio::test]
async fn what_is_in_splits_is_not_kept_in_memory() {
    let mut fixture = Fixture::new();
    fixture.settings.recent_bytes_max = 1 << 20;
    let partition = fixture.open();
    for at in 0..5 {
        partition.append(vec![batch(7, at, at + 1, &["x"])]).await.unwrap();
    }
    let kept = || {
        let shared = partition.0.shared.lock().unwrap();
        let bytes: usize = shared.recent.iter().map(|entry| entry.batch.len()).sum();
        assert_eq!(shared.recent_bytes, bytes);
        shared.recent.len()
    };
    assert_eq!(kept(), 5);
    partition.trim(Offset(3));
    partition.append(vec![batch(7, 5, 6, &["y"])]).await.unwrap();
    assert_eq!(kept(), 3);
    assert_eq!(messages(&partition, 3), ["x", "x", "y"]);
}

#[tokio::test]
async fn a_request_is_taken_whole_or_not_at_all() {
    let fixture = Fixture::new();
    let partition = fixture.open();
    let request = vec![batch(7, 0, 1, &["a"]), batch(7, 5, 6, &["b"])];
    assert!(matches!(partition.append(request).await, Err(AppendError::Sequence { next: 1 })));
    let request = vec![batch(7, 0, 1, &["a"]), batch(7, 1, 2, &["b"])];
    partition.append(request).await.unwrap();
    assert_eq!(messages(&partition, 0), ["a", "b"]);
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_resend_is_taken() {
    let fixture = Fixture::new();
    let partition = fixture.open();
    partition.append(vec![batch(7, 0, 1, &["a"])]).await.unwrap();
    fixture.faults.free_bytes.store(30, Ordering::SeqCst);
    let refused = partition.append(vec![batch(7, 1, 2, &["b"])]).await;
    assert!(matches!(refused, Err(AppendError::DiskFull)));
    fixture.faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
    partition.append(vec![batch(7, 1, 2, &["b"])]).await.unwrap();
    partition.stop();
    assert_eq!(messages(&fixture.open(), 0), ["a", "b"]);
}

#[tokio::test]
async fn a_full_queue_says_come_later() {
    let mut fixture = Fixture::new();
    fixture.settings.queue_bytes_max = 500;
    let partition = fixture.open();
    let mut taken = 0;
    let refused = loop {
        match partition.append(vec![batch(0, 0, 0, &["a"])]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Overloaded { what: "queue" }));
    assert!(taken > 1);
    assert_eq!(messages(&partition, 0).len(), taken);
}

#[tokio::test]
async fn a_full_queue_of_which_all_is_in_splits_takes_more() {
    let mut fixture = Fixture::new();
    (fixture.settings.queue_bytes_max, fixture.settings.segment_bytes_max) = (500, 1 << 20);
    let partition = fixture.open();
    let next = |at: u64, text: &str| vec![batch(7, at, at + 1, &[text])];
    let mut at = 0;
    while partition.append(next(at, "a")).await.is_ok() {
        at += 1;
    }
    assert!(at > 1);
    partition.trim(Offset(at - 1));
    let refused = partition.append(next(at, "a")).await;
    assert!(matches!(refused, Err(AppendError::Overloaded { what: "queue" })));
    partition.trim(Offset(at));
    partition.append(next(at, "b")).await.unwrap();
    assert_eq!(messages(&partition, at), ["b"]);
    assert!(partition.append(next(at, "b")).await.unwrap()[0].duplicate);
    assert!(matches!(partition.read(Offset(0), 1), Err(QueueError::Trimmed { .. })));
    // What is larger than all of the queue never has room.
    let number = |n: u64| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let large: String = (1..400).map(number).collect();
    let refused = partition.append(next(at + 1, &large)).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { max: 500, .. })));
    partition.stop();
    assert_eq!(messages(&fixture.open(), at), ["b"]);
}

#[tokio::test]
async fn a_stopped_partition_refuses() {
    let partition = Fixture::new().open();
    partition.stop();
    assert!(matches!(
        partition.append(vec![batch(0, 0, 0, &["a"])]).await,
        Err(AppendError::Stopping)
    ));
}

#[tokio::test]
async fn a_partition_that_is_added_knows_what_the_others_took() {
    let (fixture, added) = (Fixture::new(), Fixture::new());
    let first = fixture.open();
    first.append(vec![batch(7, 0, 5, &["a"])]).await.unwrap();
    let open = || {
        let seeds = Seeds::of(std::slice::from_ref(&first));
        let (place, disk) =
            ((added.folder.path(), PartitionId(1)), Disk::faulty(added.faults.clone()));
        let (clock, metrics) = (Clock::system(), IngestMetrics::new(&Metrics::default()));
        Partition::open_behind(&seeds, place, disk, clock, added.settings.clone(), metrics).unwrap()
    };
    let partition = open();
    assert_eq!(*partition.committed().borrow(), Offset(0));
    let again = partition.append(vec![batch(7, 0, 5, &["a"])]).await.unwrap();
    assert_eq!(again[0], Appended { record_count: 0, duplicate: true, next: 5, first: None });
    partition.append(vec![batch(7, 5, 6, &["b"]), batch(8, 0, 1, &["c"])]).await.unwrap();
    partition.stop();
    // What it took itself counts from then on.
    let partition = open();
    assert_eq!(messages(&partition, 0), ["b", "c"]);
    for (producer, from) in [(7, 5), (8, 0)] {
        let again = partition.append(vec![batch(producer, from, from + 1, &["x"])]).await.unwrap();
        assert!(again[0].duplicate, "{producer}");
    }
}

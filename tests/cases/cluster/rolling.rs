//! Nodes that are restarted one after the other: nobody who asks or sends to a node that is up fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::clock::Clock;
use serde_json::json;
use tests::chance::Chance;
use tests::client::{Answer, Client};
use tests::cluster::{Cluster, QUICK, list};
use tests::load::Load;
use tests::wait::{eventually, pace};

use super::plain;

/// How long an answer may take: a machine may be busy, and a batch looks for a leader for 25 s.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Who asks.
const ASKERS: u64 = 2;
/// For how long answers may lack something in all moves together, for each who asks: what moves is waited
/// for, but a slow machine may be late to hear of it.
const LACK_MAX: Duration = Duration::from_secs(1);
/// How long a question waits for what moves, before it is answered without.
const MOVE_WAIT: Duration = Duration::from_secs(5);
/// Between two questions of one.
const QUESTION_PAUSE: Duration = Duration::from_millis(30);

/// What became of questions.
#[derive(Debug, Default)]
struct Asked {
    whole: u64,
    /// Answers that said what they lack.
    partial: u64,
    /// What the last of them lacked.
    lacked: String,
    /// How long answers were whole, and how long they were not.
    times: [Duration; 2],
    /// Those that were refused, wrong, or none.
    failed: Vec<String>,
}

/// Ends who asks, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Asked {
    /// Judges an answer that must know of so many records.
    fn judge(&mut self, answer: &Answer, known: u64, time: Duration) {
        let lines = if answer.status == 200 { answer.lines() } else { Vec::new() };
        let count = lines.iter().find_map(|line| line["row"]["n"].as_u64());
        let is_partial = lines.iter().any(|line| !list(&line["end"]["partial"]).is_empty());
        let is_whole = lines.iter().any(|line| line["end"].is_object()) && !is_partial;
        let waited = if is_partial && time > MOVE_WAIT { MOVE_WAIT } else { Duration::ZERO };
        self.times[usize::from(is_partial)] += time - waited;
        if is_partial {
            self.partial += 1;
            self.lacked.clone_from(&answer.body);
        } else if is_whole && count.is_some_and(|count| count >= known) {
            self.whole += 1;
        } else {
            self.failed.push(format!("of {known}: {} {}", answer.status, answer.body));
        }
    }
}

/// Asks nodes that are up until it is enough.
fn ask(addresses: &[String], load: &Load, stop: &AtomicBool, seed: u64) -> Asked {
    let client = |address: &String| Client::fresh(address, ANSWER_WAIT);
    let clients: Vec<Client> = addresses.iter().map(client).collect();
    let (mut chance, mut asked) = (Chance::new(seed), Asked::default());
    let body = json!({ "query": "rolling | stats count() as n" }).to_string().into_bytes();
    let headers = [("content-type", "application/json")];
    let clock = Clock::system();
    while !stop.load(Ordering::SeqCst) {
        let begun = clock.elapsed();
        pace(QUESTION_PAUSE);
        let at = chance.place(clients.len());
        if load.avoids(at) {
            continue;
        }
        let known = load.so_far();
        match clients[at].send("POST", "/api/v1/query", &headers, body.clone()) {
            Some(answer) => asked.judge(&answer, known, clock.elapsed() - begun),
            // It went away meanwhile.
            None if load.avoids(at) => {}
            None => asked.failed.push(format!("node {at} does not answer")),
        }
    }
    asked
}

fn restart(cluster: &mut Cluster, load: &Load, number: usize) {
    load.more(200);
    // What is on its way there is answered.
    load.avoid(number);
    cluster.stop(number);
    load.more(200);
    cluster.begin(number);
    let client = cluster.client(number);
    eventually("it to be ready", || client.status_of("/readyz").filter(|status| *status == 200));
    load.use_again(number);
    load.more(200);
    cluster.settled();
    for node in 0..3 {
        eventually("an answer that is whole", || cluster.count(node, "rolling"));
    }
}

#[test]
fn a_rolling_restart_fails_nobody_who_sends_or_asks_where_a_node_is_up() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let addresses = cluster.addresses();
    let load = Load::patient(&addresses, "rolling", 4, ANSWER_WAIT);
    load.more(100);
    let stop = AtomicBool::new(false);
    let mut all = Asked::default();
    std::thread::scope(|scope| {
        let begin = |seed| {
            let (addresses, load, stop) = (&addresses, &load, &stop);
            scope.spawn(move || ask(addresses, load, stop, seed))
        };
        let askers: Vec<_> = (0..ASKERS).map(begin).collect();
        {
            let _stop = Stop(&stop);
            (0..3).for_each(|number| restart(&mut cluster, &load, number));
        }
        for asker in askers {
            let asked = asker.join().unwrap();
            all.whole += asked.whole;
            all.partial += asked.partial;
            if asked.partial > 0 {
                all.lacked = asked.lacked;
            }
            (0..2).for_each(|at| all.times[at] += asked.times[at]);
            all.failed.extend(asked.failed);
        }
    });
    let tally = load.end();
    let [whole, partial] = all.times;
    eprintln!(
        "{} answers, {} partial for {partial:?}; {} records {}",
        all.whole,
        all.partial,
        tally.total(),
        all.lacked
    );
    assert!(all.failed.is_empty(), "{:?}", all.failed);
    let bound = LACK_MAX * u32::try_from(ASKERS).unwrap();
    assert!(all.whole > 20 && partial <= bound, "{}, {partial:?} of {whole:?}", all.whole);
    assert_eq!((tally.refused, tally.unanswered), (0, 0));
    cluster.expect(&tally);
}

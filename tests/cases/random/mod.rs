//! Random records and random queries: a node, three nodes and plain loops over a list give the same
//! answers, while records are fresh and when they are in splits.

mod lines;
mod search;
mod pipes;

use tests::chance::{Chance, setting};
use tests::client::Client;
use tests::cluster::{Cluster, QUICK, all_published};
use tests::process::{Node, TINY};
use tests::wait::eventually;

use lines::{HOSTS, Line, lines};
use pipes::{Found, Pipes};
use search::Search;

/// Lists of records, each in an index of its own: as many as let every term have its turn.
const LISTS: u64 = 5;
/// Of so many questions one has a search of several terms; the others take turns with one.
const TERMS_EVERY: usize = 3;

/// A list of records with questions, and the index that it is in.
struct List {
    index: String,
    lines: Vec<Line>,
    questions: Vec<(Search, Pipes)>,
}

impl List {
    /// A question for each kind of pipes.
    fn drawn(number: u64, chance: &mut Chance) -> Self {
        let (lines, index) = (lines(chance), format!("list{number}"));
        let kinds = pipes::kinds(chance, &format!("index:{index}"));
        let singles = kinds.len() - kinds.len().div_ceil(TERMS_EVERY);
        let mut turn = usize::try_from(number).unwrap() * singles;
        let mut questions = Vec::with_capacity(kinds.len());
        for (at, pipes) in kinds.into_iter().enumerate() {
            let search = if at % TERMS_EVERY == 0 {
                Search::drawn(chance, 0)
            } else {
                let mut terms = search::terms(chance);
                turn += 1;
                terms.swap_remove(turn % terms.len())
            };
            questions.push((search, pipes));
        }
        Self { index, lines, questions }
    }

    fn send<'a>(&self, client: impl Fn(usize) -> &'a Client) {
        for (host, name) in HOSTS.iter().enumerate() {
            let lines = self.lines.iter().filter(|line| line.host == host);
            let lines: String = lines.map(|line| line.json() + "\n").collect();
            let path = format!("/api/v1/ingest?index={}&host={name}", self.index);
            client(host).ingest(&path, lines.as_bytes());
        }
    }

    fn check(&self, who: &str, client: &Client) {
        let mut newest: Vec<(usize, &Line)> = self.lines.iter().enumerate().collect();
        newest.sort_by_key(|(sent, line)| std::cmp::Reverse((line.at, *sent)));
        for (search, pipes) in &self.questions {
            let query = format!("index:{} ({}){}", self.index, search.text, pipes.text);
            let all: Vec<(&Line, bool)> =
                newest.iter().map(|(_, line)| (*line, search.ask.holds(&line.truth()))).collect();
            let passing = all.iter().filter(|(_, passes)| *passes).map(|(line, _)| *line).collect();
            let found = client.whole_rows(&query);
            let expected = (pipes.rows)(&Found { passing, all });
            assert_eq!(found, expected, "{who}: {query}\n{:#?}", self.lines);
        }
    }
}

#[test]
fn random_queries_are_answered_as_by_plain_loops() {
    let seed = setting("SAWLOG_RANDOM_SEED", 1);
    let count = setting("SAWLOG_RANDOM_LISTS", LISTS);
    eprintln!(
        "again: SAWLOG_RANDOM_SEED={seed} SAWLOG_RANDOM_LISTS={count} cargo test -p tests --test cases random"
    );
    let folder = tempfile::tempdir().unwrap();
    let alone = Node::start("node", folder.path(), TINY, &[]);
    let cluster = Cluster::start(3, QUICK, |_, _| Vec::new());
    let mut chance = Chance::new(seed);
    let lists: Vec<List> = (0..count).map(|number| List::drawn(number, &mut chance)).collect();
    for list in &lists {
        list.send(|_| &alone.client);
        list.send(|host| cluster.client(host));
        list.check("one node, fresh", &alone.client);
        list.check("three nodes, fresh", cluster.client(chance.place(3)));
    }
    eventually("all to be in splits", || {
        let told = [alone.client.get("/api/v1/status"), cluster.status(0)?];
        told.iter().all(all_published).then_some(())
    });
    for list in &lists {
        list.check("one node, splits", &alone.client);
        list.check("three nodes, splits", cluster.client(chance.place(3)));
    }
}

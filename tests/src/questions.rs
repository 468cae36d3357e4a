//! The list of questions: what is typed, and what it means to the oracle.

use crate::chance::Chance;
use crate::oracle::{Ask, Test, Truth, text_of};

/// A question, twice.
#[derive(Debug, Clone)]
pub struct Question {
    /// In the query language.
    pub typed: String,
    /// To the oracle.
    pub ask: Ask,
    /// A half-open window of nanoseconds.
    pub window: Option<(i64, i64)>,
}

/// The seed of the questions that are drawn from the records.
const SEED: u64 = 7410;

fn word(text: &str) -> Ask {
    Ask::Phrase(text.to_owned())
}

fn field(name: &str, test: Test) -> Ask {
    Ask::Field(name.to_owned(), test)
}

fn is(name: &str, text: &str) -> Ask {
    field(name, Test::Is(text.to_owned()))
}

fn not(ask: Ask) -> Ask {
    Ask::Not(Box::new(ask))
}

/// Every question about the records: chosen ones, then ones drawn from the records themselves.
#[must_use]
pub fn all(records: &[Truth]) -> Vec<Question> {
    let everywhere =
        |(typed, ask): (&str, Ask)| Question { typed: typed.to_owned(), ask, window: None };
    let mut list: Vec<Question> =
        [words(), patterns(), fields()].concat().into_iter().map(everywhere).collect();
    list.extend(levels(records));
    let mut chance = Chance::new(SEED);
    for _ in 0..60 {
        list.extend(drawn_text(records, &mut chance));
    }
    for _ in 0..30 {
        list.extend(drawn_field(records, &mut chance));
    }
    for _ in 0..15 {
        list.extend(drawn_window(records, &mut chance));
    }
    list
}

fn words() -> Vec<(&'static str, Ask)> {
    let [error, failed, root] = ["error", "failed", "root"].map(word);
    vec![
        ("", Ask::All),
        ("*", Ask::Stars("*".to_owned())),
        ("error", error.clone()),
        ("ERROR", error.clone()),
        ("err", word("err")),
        ("root", root.clone()),
        ("nosuchwordanywhere", word("nosuchwordanywhere")),
        ("404", word("404")),
        ("10.10.34.11", word("10.10.34.11")),
        ("0.10.34.11", word("0.10.34.11")),
        ("kibana-search.png", word("kibana-search.png")),
        ("blk_38865049064139660", word("blk_38865049064139660")),
        ("überlauf", word("überlauf")),
        ("ÜBERLAUF", word("überlauf")),
        ("\"磁盘\"", word("磁盘")),
        ("盘错", word("盘错")),
        ("\"authentication failure\"", word("authentication failure")),
        ("\"HTTP/1.1\\\" 200\"", word("HTTP/1.1\" 200")),
        ("\"state 6\"", word("state 6")),
        ("\"tate 6\"", word("tate 6")),
        ("failed root", Ask::And(vec![failed.clone(), root.clone()])),
        ("failed AND root", Ask::And(vec![failed.clone(), root.clone()])),
        ("failed OR error", Ask::Or(vec![failed.clone(), error.clone()])),
        ("failed -root", Ask::And(vec![failed.clone(), not(root.clone())])),
        ("NOT error", not(error.clone())),
        ("NOT (error OR failed)", not(Ask::Or(vec![error, failed.clone()]))),
        (
            "(failed OR user) NOT root",
            Ask::And(vec![Ask::Or(vec![failed, word("user")]), not(root)]),
        ),
    ]
}

fn patterns() -> Vec<(&'static str, Ask)> {
    let starred = |text: &'static str| (text, Ask::Stars(text.to_owned()));
    let list = [
        "term*",
        "*manager",
        "blk_*",
        "Packet*er",
        "*Responder*",
        "1*.0.0.1",
        "*rror",
        "/v2/*/servers",
    ];
    let mut all: Vec<(&str, Ask)> = list.into_iter().map(starred).collect();
    // A star that touches a quote: white space inside, and the word goes on.
    for (typed, text) in [
        ("*\"entication fail\"*", "*entication fail*"),
        ("\"authentication fail\"*", "authentication fail*"),
        ("*\"ication failure\"", "*ication failure"),
        ("auth*\" failure\"", "auth* failure"),
        ("*\"tate 6\"", "*tate 6"),
    ] {
        all.push((typed, Ask::Stars(text.to_owned())));
    }
    all
}

fn fields() -> Vec<(&'static str, Ask)> {
    let within = |name, from, to| field(name, Test::Within(from, to));
    vec![
        ("version:6", is("version", "6")),
        ("version:6.0", is("version", "6.0")),
        ("nginx_version:\"1.9.4\"", is("nginx_version", "1.9.4")),
        ("address:206.251.255.64", is("address", "206.251.255.64")),
        ("address:206.251.*", field("address", Test::Stars("206.251.*".to_owned()))),
        ("pid:*", field("pid", Test::Exists)),
        ("NOT pid:*", not(field("pid", Test::Exists))),
        ("requests.current:2", is("requests.current", "2")),
        ("requests.current>2", field("requests.current", Test::Over(2.0))),
        ("requests.current<3", field("requests.current", Test::Under(3.0))),
        ("requests.current:[3 TO 5]", within("requests.current", 3.0, 5.0)),
        ("requests.current:3..5", within("requests.current", 3.0, 5.0)),
        (
            "upstreams.trac-backend.peers.state:unhealthy",
            is("upstreams.trac-backend.peers.state", "unhealthy"),
        ),
        (
            "upstreams.trac-backend.peers.backup:true",
            is("upstreams.trac-backend.peers.backup", "true"),
        ),
        ("user:alice", is("user", "alice")),
        ("user!=alice", not(is("user", "alice"))),
        ("took_ms>=250", within("took_ms", 250.0, f64::INFINITY)),
        ("took_ms:12.5", is("took_ms", "12.5")),
        ("cart.items.sku:\"A-17\"", is("cart.items.sku", "A-17")),
        ("status:503", is("status", "503")),
        ("ok:false", is("ok", "false")),
        ("nosuchfield:*", field("nosuchfield", Test::Exists)),
        ("message:error", is("message", "error")),
        ("source:*Spark*", field("source", Test::Stars("*Spark*".to_owned()))),
    ]
}

/// Levels are asked only of the files whose levels the oracle judges.
fn levels(records: &[Truth]) -> Vec<Question> {
    let mut judged: Vec<&str> =
        records.iter().filter(|r| r.level.is_some()).map(|r| r.source.as_str()).collect();
    judged.dedup();
    judged.retain(|source| records.iter().all(|r| r.source != *source || r.level.is_some()));
    let mut list = Vec::new();
    for source in judged {
        let asks = [
            ("level:error", is("level", "error")),
            ("level:info", is("level", "info")),
            ("level:*", field("level", Test::Exists)),
            ("level>=warn", field("level", Test::LevelFrom("warn"))),
        ];
        for (typed, ask) in asks {
            let typed = format!("source:\"{source}\" {typed}");
            list.push(Question {
                typed,
                ask: Ask::And(vec![is("source", source), ask]),
                window: None,
            });
        }
    }
    list
}

/// One to four words of a line, between quotes.
fn drawn_text(records: &[Truth], chance: &mut Chance) -> Option<Question> {
    let record = chance.one_of(records);
    let words: Vec<&str> = record.message.split(' ').take(400).collect();
    let start = chance.place(words.len());
    let count = chance.place(4) + 1;
    let text = words.get(start..(start + count).min(words.len()))?.join(" ");
    if text.trim().is_empty() || text.len() > 200 || text.contains('\\') {
        return None;
    }
    let typed = format!("\"{}\"", text.replace('"', "\\\"").replace('\t', "\\t"));
    Some(Question { typed, ask: word(&text), window: None })
}

/// A field of a record and the value it has there.
fn drawn_field(records: &[Truth], chance: &mut Chance) -> Option<Question> {
    let structured: Vec<&Truth> =
        records.iter().filter(|record| !record.fields.is_empty()).collect();
    if structured.is_empty() {
        return None;
    }
    let record = chance.one_of(&structured);
    let (name, value) = chance.one_of(&record.fields);
    let text = text_of(value);
    if text.is_empty() || text.contains(['"', '\\']) {
        return None;
    }
    Some(Question { typed: format!("\"{name}\":\"{text}\""), ask: is(name, &text), window: None })
}

/// A window between the times of two records, beside a condition now and then.
fn drawn_window(records: &[Truth], chance: &mut Chance) -> Option<Question> {
    let (a, b) = (chance.one_of(records).timestamp?, chance.one_of(records).timestamp?);
    let window = Some((a.min(b), a.max(b)));
    let (typed, ask) =
        if chance.below(2) == 0 { ("", Ask::All) } else { ("NOT info", not(word("info"))) };
    Some(Question { typed: typed.to_owned(), ask, window })
}

//! Structured records: about 300 field names over all services, 25 to 60 on a record.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::chance::Chance;

/// Records that share a trace.
const TRACE_EVERY: u64 = 5;
/// Field names beyond those that every record has.
const NAMES: usize = 280;
/// Services with field sets of their own.
const SERVICES: usize = 12;
const OPERATIONS: [&str; 8] =
    ["checkout", "login", "search", "render", "refund", "upload", "sync", "notify"];
const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-2", "us-east-1", "ap-south-1"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "okhttp/4.12.0",
    "Go-http-client/2.0",
];

/// How the values of a field look.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Flag,
    Code,
    Count,
    Seconds,
    Name,
    Id,
    Address,
    Path,
}

#[derive(Debug)]
pub(super) struct Wide {
    fields: Vec<(String, Shape)>,
    /// The fields of each service, by their places.
    sets: Vec<Vec<usize>>,
}

impl Wide {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let shapes = [
            Shape::Flag,
            Shape::Code,
            Shape::Count,
            Shape::Count,
            Shape::Seconds,
            Shape::Name,
            Shape::Name,
            Shape::Id,
            Shape::Address,
            Shape::Path,
        ];
        let groups = ["http", "db", "cache", "queue", "user", "order", "k8s", "runtime"];
        let nouns = ["size", "status", "duration", "peer", "route", "owner", "retry", "region"];
        let name = |at: usize| {
            format!(
                "{}.{}{}",
                groups[at % 8],
                nouns[at / 8 % 8],
                ["", "_a", "_b", "_c", "_d"][at / 64]
            )
        };
        let fields = (0..NAMES).map(|at| (name(at), *chance.one_of(&shapes))).collect();
        let set = |_| {
            let count = 14 + chance.place(40);
            (0..count).map(|_| chance.place(NAMES)).collect()
        };
        Self { fields, sets: (0..SERVICES).map(set).collect() }
    }

    /// The members of a record's object after its level.
    pub(super) fn write(
        &self,
        chance: &mut Chance,
        stream: usize,
        n: u64,
        level: &str,
        out: &mut Vec<u8>,
    ) {
        let operation = chance.one_of(&OPERATIONS);
        let (status, took) = (status(chance, level), chance.skewed(30_000));
        let mut trace = Chance::new(n / TRACE_EVERY);
        let (high, low) = (trace.draw(), trace.draw());
        write!(
            out,
            "\"message\":\"{operation} finished with {status} in {took} ms\",\"trace_id\":\"{high:016x}{low:016x}\",\
             \"span_id\":\"{:016x}\",\"request_id\":\"{:08x}-{:04x}\",\"status\":{status},\"took_ms\":{took},\
             \"region\":\"{}\",\"user_id\":{},\"path\":\"/api/v2/{operation}/{}\",\"agent\":\"{}\"",
            chance.draw(),
            chance.below(1 << 32),
            chance.below(1 << 16),
            chance.one_of(&REGIONS),
            chance.skewed(1_000_000),
            chance.skewed(70_000),
            chance.one_of(&AGENTS),
        )
        .unwrap();
        let mut object = String::new();
        for place in &self.sets[stream % SERVICES] {
            // A field is on most records of its service.
            if chance.below(10) < 8 {
                let (name, shape) = &self.fields[*place];
                write!(object, ",\"{name}\":").unwrap();
                value(chance, *shape, *place, &mut object);
            }
        }
        // Now and then one has everything.
        if n.is_multiple_of(5_000) {
            for (place, (name, shape)) in self.fields.iter().enumerate() {
                write!(object, ",\"all.{name}\":").unwrap();
                value(chance, *shape, place, &mut object);
            }
        }
        out.extend_from_slice(object.as_bytes());
    }
}

fn status(chance: &mut Chance, level: &str) -> u64 {
    match level {
        "ERROR" => 500 + chance.below(4),
        "WARN" => 400 + chance.below(10),
        _ => 200 + chance.below(2) * 4,
    }
}

fn value(chance: &mut Chance, shape: Shape, place: usize, out: &mut String) {
    match shape {
        Shape::Flag => write!(out, "{}", chance.below(8) > 0),
        Shape::Code => write!(out, "{}", place + usize::try_from(chance.below(6)).unwrap()),
        Shape::Count => write!(out, "{}", chance.skewed(1_000_000)),
        Shape::Seconds => write!(out, "{}.{:03}", chance.skewed(60), chance.below(1_000)),
        Shape::Name => write!(out, "\"{}-{}\"", OPERATIONS[place % 8], chance.skewed(40)),
        Shape::Id => write!(out, "\"{:016x}\"", chance.draw()),
        Shape::Address => {
            write!(out, "\"10.{}.{}.{}\"", place % 8, chance.skewed(30), chance.below(254) + 1)
        }
        Shape::Path => write!(out, "\"/srv/{}/{}\"", OPERATIONS[place % 8], chance.skewed(3_000)),
    }
    .unwrap();
}

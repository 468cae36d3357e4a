//! The same records in the words of each door, made before the clock runs.

use model::batch::{BatchBuilder, Sequence};
use model::codec;
use model::json;
use model::stream::{IndexName, Labels};
use model::time::Timestamp;
use serde_json::{Value, json};

use crate::corpus::Corpus;

/// Records of one body.
pub const BODY_RECORDS: usize = 5_000;

/// Structured records as lines of JSON, without their ends.
///
/// # Panics
/// Never.
#[must_use]
pub fn lines(count: usize, seed: u64) -> Vec<String> {
    let mut corpus = Corpus::new(seed);
    let line = || Some(corpus.line().1).filter(|line| line.starts_with('{'));
    std::iter::repeat_with(line).flatten().take(count).collect()
}

/// How bodies get to a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each as a request, answered with success.
    Post {
        /// Where to.
        path: &'static str,
        /// Of what type.
        kind: &'static str,
    },
    /// Each as a call over gRPC, answered with success.
    Call {
        /// The option that opens the listener.
        option: &'static str,
        /// The name of the call.
        path: &'static str,
    },
    /// One behind the other on a connection to the listener that this option opens.
    Connection(&'static str),
}

/// A door, and how its bodies are made.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// Its name.
    pub name: &'static str,
    /// How bodies get there.
    pub way: Way,
    /// Makes the body of some lines.
    pub body: fn(&[String]) -> Vec<u8>,
}

/// Every door that is measured, the native one first.
pub const WIRES: [Wire; 10] = [
    Wire { name: "native", way: post("/api/v1/batches", "application/octet-stream"), body: native },
    Wire {
        name: "ndjson",
        way: post("/api/v1/ingest?service=bench", "application/x-ndjson"),
        body: ndjson,
    },
    Wire {
        name: "elasticsearch _bulk",
        way: post("/es/_bulk", "application/x-ndjson"),
        body: bulk,
    },
    Wire { name: "otlp, protobuf", way: post("/v1/logs", "application/x-protobuf"), body: otlp },
    Wire {
        name: "otlp, gRPC",
        way: Way::Call {
            option: "--otlp-grpc-listen",
            path: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        },
        body: otlp,
    },
    Wire { name: "loki, json", way: post("/loki/api/v1/push", "application/json"), body: loki },
    Wire { name: "splunk hec", way: post("/services/collector", "application/json"), body: hec },
    Wire { name: "fluent forward", way: Way::Connection("--fluent-listen"), body: forward },
    Wire { name: "gelf, tcp", way: Way::Connection("--gelf-listen"), body: gelf },
    Wire { name: "syslog, tcp", way: Way::Connection("--syslog-listen"), body: syslog },
];

const fn post(path: &'static str, kind: &'static str) -> Way {
    Way::Post { path, kind }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn nanoseconds(record: &Value) -> i64 {
    Timestamp::parse(record["timestamp"].as_str().unwrap()).unwrap().0
}

/// As text with a fraction: a float is not exact.
fn seconds(record: &Value) -> Value {
    let time = nanoseconds(record) / 1_000_000;
    serde_json::from_str(&format!("{}.{:03}", time / 1_000, time % 1_000)).unwrap()
}

fn ndjson(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

fn native(lines: &[String]) -> Vec<u8> {
    let labels = Labels::new(vec![("service".to_owned(), "bench".to_owned())]).unwrap();
    let mut builder = BatchBuilder::new(IndexName::default(), labels);
    for line in lines {
        builder.push(json::record(line.as_bytes()).unwrap(), Timestamp(0));
    }
    codec::encode(&builder.finish(), Sequence::NONE).unwrap().to_vec()
}

fn bulk(lines: &[String]) -> Vec<u8> {
    let action = "{\"create\":{\"_index\":\"bench\"}}\n";
    lines.iter().flat_map(|line| [action, line, "\n"].concat().into_bytes()).collect()
}

fn loki(lines: &[String]) -> Vec<u8> {
    let value = |line: &String| {
        let record = parsed(line);
        let mut meta = record.as_object().unwrap().clone();
        meta.retain(|name, _| name != "timestamp" && name != "message");
        let meta = meta.into_iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name, Value::from(text))
        });
        json!([nanoseconds(&record).to_string(), record["message"], Value::Object(meta.collect())])
    };
    let values: Vec<Value> = lines.iter().map(value).collect();
    json!({ "streams": [{ "stream": { "service": "bench" }, "values": values }] })
        .to_string()
        .into_bytes()
}

fn hec(lines: &[String]) -> Vec<u8> {
    let event = |line: &String| {
        let record = parsed(line);
        let mut fields = record.as_object().unwrap().clone();
        fields.retain(|name, _| name != "timestamp" && name != "message");
        let seconds = nanoseconds(&record) / 1_000_000;
        let time = format!("{}.{:03}", seconds / 1_000, seconds % 1_000);
        json!({ "time": time, "host": "bench", "event": record["message"], "fields": fields })
            .to_string()
            .into_bytes()
    };
    lines.iter().flat_map(event).collect()
}

fn gelf(lines: &[String]) -> Vec<u8> {
    let message = |line: &String| {
        let record = parsed(line);
        let mut message = json!({
            "version": "1.1", "host": "bench", "short_message": record["message"], "level": 6,
            "timestamp": seconds(&record),
        });
        for name in ["status", "took_ms", "user", "region"] {
            message[format!("_{name}")] = record[name].clone();
        }
        [message.to_string().as_bytes(), b"\0"].concat()
    };
    lines.iter().flat_map(message).collect()
}

fn syslog(lines: &[String]) -> Vec<u8> {
    let message = |line: &String| {
        let record = parsed(line);
        let text = |name: &str| {
            let value = &record[name];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        let data = ["status", "took_ms", "user", "region"].map(|n| format!(" {n}=\"{}\"", text(n)));
        let message = format!(
            "<14>1 {} host bench 7 - [b{}] {}",
            text("timestamp"),
            data.concat(),
            text("message")
        );
        format!("{} {message}", message.len()).into_bytes()
    };
    lines.iter().flat_map(message).collect()
}

fn forward(lines: &[String]) -> Vec<u8> {
    let mut entries = Vec::new();
    for line in lines {
        let mut record = parsed(line);
        let time = nanoseconds(&record);
        record.as_object_mut().unwrap().remove("timestamp");
        entries.extend_from_slice(&[0x92, 0xd7, 0]);
        entries.extend_from_slice(&u32::try_from(time / 1_000_000_000).unwrap().to_be_bytes());
        entries.extend_from_slice(&u32::try_from(time % 1_000_000_000).unwrap().to_be_bytes());
        pack(&record, &mut entries);
    }
    // Without a chunk nothing is acknowledged, and nothing must be read.
    let mut body = vec![0x92];
    pack(&"bench".into(), &mut body);
    body.push(0xc6);
    body.extend_from_slice(&u32::try_from(entries.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&entries);
    body
}

/// A value as MessagePack, as far as the corpus needs it.
fn pack(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            out.push(0xda);
            out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Object(members) => {
            out.push(0x80 | u8::try_from(members.len()).unwrap());
            for (name, value) in members {
                pack(&name.as_str().into(), out);
                pack(value, out);
            }
        }
        number => {
            out.push(0xd3);
            out.extend_from_slice(&number.as_i64().unwrap().to_be_bytes());
        }
    }
}

fn otlp(lines: &[String]) -> Vec<u8> {
    let text = |text: &str| delimited(1, text.as_bytes());
    let attribute =
        |name: &str, value: Vec<u8>| delimited(6, &[text(name), delimited(2, &value)].concat());
    let log = |line: &String| {
        let record = parsed(line);
        let mut log = vec![(1 << 3) | 1];
        log.extend_from_slice(&nanoseconds(&record).to_le_bytes());
        log.extend(delimited(3, record["level"].as_str().unwrap().as_bytes()));
        log.extend(delimited(5, &text(record["message"].as_str().unwrap())));
        for name in ["user", "region"] {
            log.extend(attribute(name, text(record[name].as_str().unwrap())));
        }
        for name in ["status", "took_ms"] {
            let mut number = vec![3 << 3];
            varint(record[name].as_u64().unwrap(), &mut number);
            log.extend(attribute(name, number));
        }
        delimited(2, &log)
    };
    let logs: Vec<u8> = lines.iter().flat_map(log).collect();
    let name = delimited(1, &[text("service.name"), delimited(2, &text("bench"))].concat());
    delimited(1, &[delimited(1, &name), delimited(2, &logs)].concat())
}

/// A field of protobuf with its length before it.
fn delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![(number << 3) | 2];
    varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}

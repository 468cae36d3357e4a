//! What lines of the formats people use mean.

use model::level::Level;

use super::*;

/// 2026-11-23T15:24:00Z.
const NOW: &str = "2026-11-23T15:24:00Z";

fn parser(zone: &str, now: Timestamp) -> Parser {
    let zone = Zone::of(Some(zone)).unwrap();
    Parser::new(Arc::new(Recipe { zone, ..Recipe::default() }), now, None)
}

#[track_caller]
fn parsed(line: &str, zone: &str) -> Option<String> {
    let now = Timestamp::parse(NOW).unwrap();
    let record = parser(zone, now).record(Line::bare(line.as_bytes(), 0)).unwrap();
    record.timestamp.map(|moment| moment.to_string())
}

#[track_caller]
fn check(line: &str, expected: &str) {
    let expected = Timestamp::parse(expected).unwrap().to_string();
    assert_eq!(parsed(line, "UTC"), Some(expected), "{line}");
}

#[track_caller]
fn none(line: &str) {
    assert_eq!(parsed(line, "UTC"), None, "{line}");
}

#[test]
fn iso_times_are_read_in_all_their_spellings() {
    check("2015-10-18 18:01:47,978 INFO [main] x", "2015-10-18T18:01:47.978Z");
    check("2026-11-23T15:24:00.123456789Z x", "2026-11-23T15:24:00.123456789Z");
    check("2026-11-23T15:24:00+02:00", "2026-11-23T13:24:00Z");
    check("2026-11-23 15:24:00 -0330 x", "2026-11-23T18:54:00Z");
    check("2026-11-23 15:24:00 UTC [7] LOG: x", "2026-11-23T15:24:00Z");
    check("2026-11-23 15:24:00 -12 degrees", "2026-11-23T15:24:00Z");
    check("[2026-11-23 15:24:00.5] x", "2026-11-23T15:24:00.5Z");
    check("2009/01/23 01:23:23 main.go: x", "2009-01-23T01:23:23Z");
    check("2026-11-23T15:24:60Z leap", "2026-11-23T15:24:59Z");
    check("2024-02-29 00:00:00 x", "2024-02-29T00:00:00Z");
}

#[test]
fn times_of_known_programs_are_read() {
    check("Jun 14 15:16:01 combo sshd(pam_unix)[19939]: x", "2026-06-14T15:16:01Z");
    check("Jun  4 15:16:01.25 combo x", "2026-06-04T15:16:01.25Z");
    check("<34>Oct 11 22:14:15 mymachine su: x", "2026-10-11T22:14:15Z");
    check("<165>1 2003-10-11T22:14:15.003Z host app - - x", "2003-10-11T22:14:15.003Z");
    check("[Sun Dec 04 04:47:44 2005] [notice] x", "2005-12-04T04:47:44Z");
    check("[Sun Dec 04 04:47:44.123456 2005] [core:error] x", "2005-12-04T04:47:44.123456Z");
    check(
        r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200"#,
        "2015-05-17T10:05:03Z",
    );
    check(
        r#"::1 - a [b] [17/May/2015:10:05:03 +0200] "GET / HTTP/1.1" 200"#,
        "2015-05-17T08:05:03Z",
    );
    check("081109 203615 148 INFO dfs.DataNode: x", "2008-11-09T20:36:15Z");
    check("17/06/09 20:10:40 INFO executor: x", "2017-06-09T20:10:40Z");
    check("03-17 16:13:38.811  1702  2395 D WindowManager: x", "2026-03-17T16:13:38.811Z");
    check("E0523 12:34:56.789012    1 main.go:7] x", "2026-05-23T12:34:56.789012Z");
    check("1234:M 23 Nov 2026 15:24:00.123 * ready", "2026-11-23T15:24:00.123Z");
    check("Mon, 23 Nov 2026 15:24:00 +0100 x", "2026-11-23T14:24:00Z");
    check(
        "nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova x",
        "2017-05-16T00:00:00.008Z",
    );
    check(r#"time="2026-11-23T15:24:00Z" level=info msg=x"#, "2026-11-23T15:24:00Z");
    check("[main] 2026-11-23 15:24:00 x", "2026-11-23T15:24:00Z");
    check("1700000000 x", "2023-11-14T22:13:20Z");
    check("1700000000.250 x", "2023-11-14T22:13:20.25Z");
    check("1700000000123 x", "2023-11-14T22:13:20.123Z");
}

#[test]
fn what_only_looks_like_a_time_is_none() {
    none("connection from 10.0.0.1 at 12:00:00");
    none("2026-13-23 15:24:00 x");
    none("2026-11-23 25:24:00 x");
    none("2023-02-29 00:00:00 x");
    none("0123456789 x");
    none("9999999999 x");
    none("17000000001 x");
    none("999999 999999 x");
    none("");
    none("Jun");
    none("Januar 14 15:16:01 x");
    none("{\"a\":");
    none("\t at java.lang.Thread.run(Thread.java:748)");
}

#[test]
fn without_a_year_the_nearest_past_one_is_taken() {
    check("Nov 24 15:00:00 tomorrow is clock skew", "2026-11-24T15:00:00Z");
    check("Nov 25 15:24:00 was last year", "2025-11-25T15:24:00Z");
    check("Dec 31 23:59:59 was last year", "2025-12-31T23:59:59Z");
    check("Feb 29 10:00:00 was in a leap year", "2024-02-29T10:00:00Z");
}

#[test]
fn without_a_zone_the_set_one_is_taken() {
    let berlin = |line| parsed(line, "Europe/Berlin").unwrap();
    assert_eq!(berlin("2026-07-01 12:00:00 x"), "2026-07-01T10:00:00.000000000Z");
    assert_eq!(berlin("2026-12-01 12:00:00 x"), "2026-12-01T11:00:00.000000000Z");
    assert_eq!(berlin("2026-12-01 12:00:00Z x"), "2026-12-01T12:00:00.000000000Z");
    assert!(Zone::of(Some("Nowhere/Land")).is_err());
}

#[test]
fn times_around_a_change_of_offset_keep_their_order() {
    let now = Timestamp::parse(NOW).unwrap();
    let mut parser = parser("Europe/Berlin", now);
    let mut moment = |line: &str| {
        parser.record(Line::bare(line.as_bytes(), 0)).unwrap().timestamp.unwrap().to_string()
    };
    assert_eq!(moment("2026-03-29 01:59:59 x"), "2026-03-29T00:59:59.000000000Z");
    assert_eq!(moment("2026-03-29 03:00:00 x"), "2026-03-29T01:00:00.000000000Z");
}

#[test]
fn json_lines_become_fields_and_broken_ones_stay_text() {
    let now = Timestamp::parse(NOW).unwrap();
    let mut parser = parser("UTC", now);
    let record = parser
        .record(Line::bare(br#"{"time":"2026-11-23 15:24:00","msg":"hi","n":1}"#, 0))
        .unwrap();
    assert_eq!(record.message, "hi");
    assert_eq!(record.timestamp, Some(now));
    assert_eq!(record.fields, [("n".to_owned(), FieldValue::Int(1))]);

    let record = parser.record(Line::bare(br#"{"half": }"#, 0)).unwrap();
    assert_eq!(record.message, r#"{"half": }"#);
    assert!(record.fields.is_empty());

    let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    let record = parser.record(Line::bare(deep.as_bytes(), 0)).unwrap();
    assert_eq!(record.fields.first().map(|(name, _)| name.as_str()), Some("_poison"));
}

#[test]
fn spaces_before_an_object_are_no_part_of_it() {
    let now = Timestamp::parse(NOW).unwrap();
    let line = b" \t{\"time\":\"2026-11-23 15:24:00\",\"msg\":\"hi\"} ";
    for format in [Format::Auto, Format::Detect] {
        let zone = Zone::of(Some("UTC")).unwrap();
        let recipe = Recipe { zone, format, keeps_raw: true, ..Recipe::default() };
        let mut parser = Parser::new(Arc::new(recipe), now, None);
        let record = parser.record(Line::bare(line, 0)).unwrap();
        assert_eq!((record.message.as_str(), record.timestamp), ("hi", Some(now)));
        let raw = FieldValue::Text(String::from_utf8(line.to_vec()).unwrap());
        assert_eq!(record.fields, [(RAW_FIELD.to_owned(), raw)]);
    }
    let mut parser = parser("UTC", now);
    assert!(matches!(parser.seen(b"\t {\"msg\":\"a\"}"), Some(Seen::Quick(_))));
    // What only looks like one is text, with its spaces.
    for text in ["  {ERROR: no JSON}", "\t{\"a\":017}", "\u{c}{\"a\":1}", "  {", "  "] {
        let record = parser.record(Line::bare(text.as_bytes(), 0)).unwrap();
        assert_eq!((record.message.as_str(), record.fields.len()), (text, 0));
        assert!(matches!(parser.seen(text.as_bytes()), Some(Seen::Text(_))), "{text}");
    }
}

#[test]
fn text_keeps_its_bytes_and_level() {
    let now = Timestamp::parse(NOW).unwrap();
    let mut parser = parser("UTC", now);
    let record = parser.record(Line::bare(b"2026-11-23 15:24:00 ERROR a\xffb", 0)).unwrap();
    assert_eq!(record.level, Level::Error);
    assert_eq!(record.message, "2026-11-23 15:24:00 ERROR a\\xffb");
    let record =
        parser.over_long(Line::bare(b"2026-11-23 15:24:00 beginning", 0), 50_000_000).unwrap();
    assert_eq!(record.message, "2026-11-23 15:24:00 beginning");
    assert!(record.fields.contains(&("_bytes".to_owned(), FieldValue::Int(50_000_000))));
}

#[test]
fn no_bytes_make_the_parser_stumble() {
    let now = Timestamp::parse(NOW).unwrap();
    let mut parser = parser("UTC", now);
    let seeds: [&[u8]; 6] = [
        b"2015-10-18 18:01:47,978 INFO x",
        b"[Sun Dec 04 04:47:44 2005] x",
        b"<34>Oct 11 22:14:15 x",
        b"1700000000.250 x",
        b"{\"time\":\"03-17 16:13:38.811\",\"a\":[1]}",
        b"1.1.1.1 - - [17/May/2015:10:05:03 +0000] x",
    ];
    for seed in seeds {
        for at in 0..seed.len() {
            parser.record(Line::bare(&seed[..at], 0));
            for byte in [0, b'9', b'-', b'[', 0xff] {
                let mut line = seed.to_vec();
                line[at] = byte;
                parser.record(Line::bare(&line, 0));
            }
        }
    }
}

/// What is seen of a line, as a record.
fn seen(parser: &mut Parser, line: &[u8]) -> Option<Record> {
    Some(match parser.seen(line)? {
        Seen::Text(Text { timestamp, level, message }) => {
            Record { timestamp, level, message: message.to_owned(), fields: Vec::new() }
        }
        Seen::Quick(quick) => quick.into_flat().into_record(),
        Seen::Flat(flat) => flat.into_record(),
    })
}

#[test]
fn what_is_seen_at_once_is_what_is_read() {
    let now = Timestamp::parse(NOW).unwrap();
    let seeds: [&[u8]; 8] = [
        b"2015-10-18 18:01:47,978 INFO x",
        b" \t{\"n\":1,\"ok\":true}",
        b"{\"time\":\"03-17 16:13:38.811\",\"a\":[1]}",
        b"{\"ts\":1700000000,\"level\":\"warn\",\"msg\":\"a \\\"b\\\" \\u00fc\",\"n\":{\"m\":200}}",
        b"{\"took\":12.5,\"odd\":1e3,\"ok\":true,\"l\":[\"x\",null]} ",
        b"{\"a\":\"\\ud83d\\ude00\",\"b\":-0,\"c\":1234567890123456789}",
        b"{ERROR: no JSON}",
        b"{\"a\":017,\"level\":\"error\"}",
    ];
    for format in [Format::Auto, Format::Text, Format::Detect] {
        let recipe = Recipe { zone: Zone::of(Some("UTC")).unwrap(), format, ..Recipe::default() };
        let mut parser = Parser::new(Arc::new(recipe), now, None);
        let mut check = |line: &[u8]| {
            let read = parser.record(Line::bare(line, 0)).unwrap();
            let seen = seen(&mut parser, line);
            assert!(seen.is_none_or(|seen| seen == read), "{}", String::from_utf8_lossy(line));
        };
        for seed in seeds {
            check(seed);
            for at in 0..seed.len() {
                check(&seed[..at]);
                for byte in [0, b'9', b'0', b'"', b'\\', b'}', b' ', 0xff] {
                    let mut line = seed.to_vec();
                    line[at] = byte;
                    check(&line);
                }
            }
        }
    }
}

#[test]
fn what_looks_like_json_and_is_none_is_seen_as_text() {
    let mut parser = parser("UTC", Timestamp::parse(NOW).unwrap());
    for line in [&b"{ERROR: no JSON}"[..], b"{\"a\":017}", b"{\"a\":1"] {
        assert!(matches!(parser.seen(line), Some(Seen::Text(_))));
    }
    assert!(matches!(parser.seen(b"{\"msg\":\"a\\n\"}"), Some(Seen::Quick(_))));
    assert!(matches!(parser.seen(b"{\"n\":1e3}"), Some(Seen::Flat(_))));
}

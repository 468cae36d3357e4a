//! Rules, redaction and rates on single records.

use std::time::Duration;

use super::*;
use crate::parse::regex;

fn record(message: &str, level: Level, fields: &[(&str, &str)]) -> Record {
    let text =
        |(name, value): &(&str, &str)| ((*name).to_owned(), FieldValue::Text((*value).to_owned()));
    let fields = fields.iter().map(text).collect();
    Record { message: message.to_owned(), level, fields, ..Record::default() }
}

#[track_caller]
fn redacted(what: &str, text: &str, expected: &str) {
    let redaction = Redaction::new(&[what.to_owned()], None).unwrap();
    let mut record = record(text, Level::Info, &[("f", text)]);
    redaction.apply(&mut record);
    assert_eq!(record.message, expected);
    assert_eq!(record.fields[0].1.to_text(), expected);
}

#[test]
fn secrets_become_unreadable_and_the_rest_stays() {
    redacted("mail", "from a.b+c@mail.example.com to <x@y.de>.", "from [mail] to <[mail]>.");
    redacted("card", "card 4111 1111 1111 1111 ok", "card [card] ok");
    redacted(
        "card",
        "id 4111111111111112 at 1700000000000",
        "id 4111111111111112 at 1700000000000",
    );
    redacted("token", "Authorization: Bearer abc.def-123 x", "Authorization: Bearer [token] x");
    redacted("token", "?access_token=s3cr3t&x=1", "?access_token=[token]&x=1");
    redacted("token", r#"{"password": "hunter2", "n": 1}"#, r#"{"password": "[token]", "n": 1}"#);
    redacted("token", "AWS_SECRET_ACCESS_KEY=wJalrXUt/x y", "AWS_SECRET_ACCESS_KEY=[token] y");
    redacted("token", r#"secret="s e c" n=1"#, r#"secret="[token]" n=1"#);
    redacted("token", "pwd='s e c' n=1", "pwd='[token]' n=1");
    redacted("token", r#"{\"token\":\"s e c\"}"#, r#"{\"token\":\"[token]\"}"#);
    redacted("token", "git https://bob:hunter2@host/x", "git https://bob:[token]@host/x");
    redacted(
        "token",
        "max_tokens=400 at http://host:80/a@b",
        "max_tokens=400 at http://host:80/a@b",
    );
    redacted("card", "4111.1111.1111.1111 1767225600.123456789", "[card] 1767225600.123456789");
    redacted("token", "jwt eyJhbGciOiJIUzI1.eyJzdWIiOiIx.abc ok", "jwt [token] ok");
    redacted("key", "aws AKIAIOSFODNN7EXAMPLE end", "aws [key] end");
    redacted(
        "key",
        "-----BEGIN RSA PRIVATE KEY-----\nab\n-----END RSA PRIVATE KEY-----x",
        "[key]x",
    );
    redacted("regex:\\d+ms", "took 12ms", "took [redacted]");
    assert!(Redaction::new(&["odd".to_owned()], None).is_err());
}

#[test]
fn of_a_text_that_was_cut_no_half_of_a_secret_is_left() {
    let what = ["mail", "card"].map(str::to_owned);
    let action = Action::Redact(Redaction::new(&what, None).unwrap());
    let rules = Rules(vec![Rule { when: Vec::new(), action }]);
    let filled = |bytes: usize| "- ".repeat(bytes / 2);
    let length = 3 * EDGE_BYTES;
    let cut = |text: &str, mark: &str| {
        let fields = [("_kept", mark), ("f", text), ("name", "short")];
        let kept = rules.apply(record(text, Level::Info, &fields), 0).unwrap();
        assert_eq!(kept.fields[1].1.to_text(), kept.message);
        assert_eq!(kept.fields[2].1.to_text(), "short");
        kept.message
    };
    for (secret, mark) in [("john.doe@example.com", "[mail]"), ("4111 1111 1111 1111", "[card]")] {
        for shown in 0..secret.len() {
            // So much of it stood before the cut: all that stands there is left off.
            let text = filled(length) + &secret[..shown];
            let kept = cut(&text, "cut");
            assert!(kept.len() >= text.len() - EDGE_BYTES - 1 && filled(length).starts_with(&kept));
            // So much of it stands before the bytes that are left off: all of it is found.
            let before = filled(length - EDGE_BYTES);
            let text = format!("{before}{secret} {}", filled(EDGE_BYTES - secret.len() + shown));
            let edge = text.len() - EDGE_BYTES;
            let kept = cut(&text, "cut");
            match edge > before.len() {
                true => assert_eq!(kept, before + mark),
                false => assert_eq!(kept, before[..edge]),
            }
        }
        // Nothing is left off of what is whole.
        let text = filled(length) + secret;
        assert_eq!(cut(&text, "escaped"), filled(length) + mark);
    }
    assert_eq!(cut("to john.doe@example.com", "cut"), "to [mail]");
}

#[test]
fn fields_are_secret_by_their_names() {
    let redaction = Redaction::new(&["token".to_owned()], None).unwrap();
    let rules = Rules(vec![Rule { when: Vec::new(), action: Action::Redact(redaction) }]);
    let given = [
        ("password", "hunter2"),
        ("user.api_key", "0123"),
        ("Authorization", "abc"),
        ("has_password", "true"),
        ("tokens", "400"),
        ("token.kind", "short"),
    ];
    let mut given = record("m", Level::Info, &given);
    given.fields.push(("pwd".to_owned(), FieldValue::Int(1234)));
    let kept = rules.apply(given, 0).unwrap();
    let texts: Vec<String> = kept.fields.iter().map(|(_, value)| value.to_text()).collect();
    assert_eq!(texts, ["[token]", "[token]", "[token]", "true", "400", "short", "[token]"]);
}

#[test]
fn rules_drop_sample_and_change() {
    let when = |field: &str, test| vec![Condition { field: field.to_owned(), test }];
    let rules = Rules(vec![
        Rule { when: when("level", Test::Below(Level::Info)), action: Action::Drop },
        Rule {
            when: when("message", Test::Matches(regex("^health").unwrap())),
            action: Action::Sample(10),
        },
        Rule {
            when: when("old", Test::Exists),
            action: Action::Rename { field: "old".to_owned(), to: "new".to_owned() },
        },
        Rule {
            when: Vec::new(),
            action: Action::Add { field: "x".to_owned(), value: FieldValue::Int(1) },
        },
        Rule { when: when("x", Test::Is("1".to_owned())), action: Action::Remove("y".to_owned()) },
    ]);
    assert_eq!(rules.apply(record("m", Level::Debug, &[]), 0), None);
    let kept = rules.apply(record("m", Level::Unknown, &[("old", "v"), ("y", "w")]), 0).unwrap();
    let names: Vec<&str> = kept.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["new", "x"]);
    let count = |from: u64| {
        (from..from + 10_000)
            .filter(|place| rules.apply(record("health", Level::Info, &[]), *place).is_some())
            .count()
    };
    assert!((900..1_100).contains(&count(0)));
    assert_eq!(count(0), count(0));
}

#[test]
fn a_rate_lets_a_second_through_and_then_waits() {
    let rate = Rate::new(1_000);
    assert_eq!(rate.take(1_000, Duration::ZERO), Duration::ZERO);
    assert_eq!(rate.take(500, Duration::ZERO), Duration::from_millis(500));
    assert_eq!(rate.take(500, Duration::from_secs(1)), Duration::ZERO);
    assert_eq!(rate.take(3_000, Duration::from_secs(100)), Duration::from_secs(2));
}

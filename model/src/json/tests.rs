//! Lines of JSON and the records that come of them.

use super::*;

#[test]
fn names_of_time_message_and_level_are_known() {
    let line = br#"{"ts":1700000000,"lvl":"WARN","msg":"hi","a":{"b":1,"c":[true,"x"]},"d":null}"#;
    let record = record(line).unwrap();
    assert_eq!(record.timestamp, Some(Timestamp(1_700_000_000_000_000_000)));
    assert_eq!(record.level, Level::Warn);
    assert_eq!(record.message, "hi");
    assert_eq!(
        record.fields,
        [
            ("a.b".to_owned(), FieldValue::Int(1)),
            ("a.c".to_owned(), FieldValue::Bool(true)),
            ("a.c".to_owned(), FieldValue::Text("x".to_owned())),
        ]
    );
}

#[test]
fn odd_members_are_kept_all_the_same() {
    let line = br#"{"message":7,"msg":"m","level":"odd","severity":3,"a\u0041":"\n","x":18446744073709551615,"l":{"message":"in"},"k":[[1],{"z":null}]}"#;
    let found = record(line).unwrap();
    assert_eq!((found.message.as_str(), found.level), ("m", Level::Error));
    let names: Vec<&str> = found.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["message", "level", "aA", "x", "l.message", "k"]);
}

#[test]
fn without_a_message_the_line_is_the_message() {
    let record = record(br#"{"status":500}"#).unwrap();
    assert_eq!(record.message, r#"{"status":500}"#);
    assert_eq!(record.fields, [("status".to_owned(), FieldValue::Int(500))]);
}

#[test]
fn what_was_read_before_is_the_same_record() {
    let line = r#"{"ts":1700000000,"lvl":"WARN","a":{"b":1,"c":[true,"x"]},"d":null}"#;
    let value = serde_json::from_str(line).unwrap();
    assert_eq!(object(&value), record(line.as_bytes()));
    assert_eq!(object(&serde_json::json!([1])), Err(JsonError::NotObject));
    let found = fields("m", &serde_json::json!({ "time": 1, "l": ["x"] })).unwrap();
    let text = FieldValue::Text("x".to_owned());
    let expected = [("m.time".to_owned(), FieldValue::Int(1)), ("m.l".to_owned(), text)];
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_record_says_why() {
    assert!(matches!(record(b"{broken"), Err(JsonError::Syntax(_))));
    assert_eq!(record(b"[1]"), Err(JsonError::NotObject));
    let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    assert!(matches!(record(deep.as_bytes()), Err(JsonError::Bound(_))));
    let many = (0..5_000).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(",");
    assert!(matches!(record(format!("{{{many}}}").as_bytes()), Err(JsonError::Bound(_))));
    let torn = &deep.as_bytes()[..deep.len() - 1];
    assert!(matches!(record(torn), Err(JsonError::Syntax(_))));
    assert!(matches!(record(b"{} x"), Err(JsonError::Syntax(_))));
    let kept = poisoned(b"{broken \xff", "why");
    assert_eq!(kept.message, "{broken \\xff");
}

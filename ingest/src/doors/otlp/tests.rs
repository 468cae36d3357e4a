//! Records of OpenTelemetry, in both encodings, through the door.

use model::limits::MESSAGE_BYTES_MAX;
use model::record::{FieldValue, KEPT_FIELD, POISON_FIELD, Record};
use proptest::prelude::*;
use serde_json::Value;

use super::message::{
    Any, AnyValue, KeyValue, LogRecord, Map, Resource, ResourceLogs, Scope, ScopeLogs,
};
use super::*;
use crate::doors::tests::fixture;

fn any(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Any::Text(text.to_owned().into())) })
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned().into(), value: any(value) }
}

fn request(logs: &[LogRecord]) -> Vec<u8> {
    let attributes = vec![pair("service.name", "shop"), pair("process.pid", "7")];
    let scope = Scope { name: "lib".into(), version: "1".into(), attributes: vec![] };
    let log_records = logs.iter().map(|log| log.encode_to_vec().into()).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records }];
    let logs = ResourceLogs { resource: Some(Resource { attributes }), scope_logs };
    Request { resource_logs: vec![logs] }.encode_to_vec()
}

fn field<'a>(record: &'a Record, name: &str) -> Option<&'a FieldValue> {
    record.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn is(text: &str) -> Option<FieldValue> {
    Some(FieldValue::Text(text.to_owned()))
}

#[tokio::test]
async fn protobuf_keeps_resource_scope_ids_and_severity() {
    let fixture = fixture();
    let body = Map { values: vec![pair("msg", "paid"), pair("cart", "9")] };
    let logs = vec![
        LogRecord {
            time_unix_nano: 1_700_000_000_000_000_007,
            severity_number: 13,
            severity_text: "WARN2".into(),
            body: any("caf\u{e9} full"),
            attributes: vec![pair("http.route", "/x")],
            trace_id: vec![0xab; 16].into(),
            span_id: vec![0x01; 8].into(),
            event_name: "order".into(),
            flags: 1,
            ..LogRecord::default()
        },
        LogRecord {
            observed_time_unix_nano: 1_700_000_000_000_000_008,
            body: Some(AnyValue { value: Some(Any::Map(body)) }),
            ..LogRecord::default()
        },
        LogRecord {
            body: Some(AnyValue { value: Some(Any::Text(b"\xff\xfe".to_vec().into())) }),
            ..LogRecord::default()
        },
    ];
    let headers = [("content-type", PROTOBUF)];
    let (status, text) = fixture.ask("POST", "/v1/logs", &headers, request(&logs)).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, ""));
    let records = fixture.records();
    let messages: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(messages, ["café full", "paid", "\\xff\\xfe"]);
    let first = &records[0];
    assert_eq!(
        (first.timestamp.unwrap().0, first.level.name()),
        (1_700_000_000_000_000_007, "warn")
    );
    for (name, expected) in [
        ("http.route", "/x"),
        ("resource.process.pid", "7"),
        ("scope.name", "lib"),
        ("event_name", "order"),
        ("severity_text", "WARN2"),
        ("span_id", "0101010101010101"),
        ("trace_id", "abababababababababababababababab"),
    ] {
        assert_eq!(field(first, name).cloned(), is(expected), "{name}");
    }
    assert_eq!(field(first, "trace_flags"), Some(&FieldValue::Int(1)));
    assert_eq!(records[1].timestamp.unwrap().0 % 10, 8);
    assert_eq!(field(&records[1], "trace_flags"), None);
    assert_eq!(field(&records[1], "cart").cloned(), is("9"));
    assert_eq!(fixture.labels()[0].iter().collect::<Vec<_>>(), [("service", "shop")]);
}

#[tokio::test]
async fn json_has_hex_ids_and_numbers_as_text() {
    let fixture = fixture();
    let body = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"h"}}]},
        "scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000001","severityNumber":17,
        "body":{"stringValue":"b"},"traceId":"5b8efff798038103d269b633813fc60c","unknown":{},
        "attributes":[{"key":"n","value":{"intValue":"12"}},{"key":"d","value":{"doubleValue":1.5}},
        {"key":"l","value":{"arrayValue":{"values":[{"boolValue":true},{"stringValue":"s"}]}}}]}]}]}]}"#;
    let headers = [("content-type", "application/json")];
    let (status, answer) = fixture.ask("POST", "/v1/logs", &headers, body.into()).await;
    assert_eq!((status, answer.as_str()), (StatusCode::OK, "{}"));
    let records = fixture.records();
    assert_eq!((records[0].message.as_str(), records[0].level.name()), ("b", "error"));
    assert_eq!(field(&records[0], "trace_id").cloned(), is("5b8efff798038103d269b633813fc60c"));
    assert_eq!(field(&records[0], "n"), Some(&FieldValue::Int(12)));
    assert_eq!(field(&records[0], "d"), Some(&FieldValue::Float(1.5)));
    assert_eq!(records[0].fields.iter().filter(|(name, _)| name == "l").count(), 2);
}

fn json(record: &str) -> Vec<u8> {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#).into_bytes()
}

#[tokio::test]
async fn json_of_another_type_is_kept_as_it_is_written() {
    let headers = [("content-type", "application/json")];
    for (record, message, name, expected) in [
        (r#"{"body":"raw"}"#, "raw", "", None),
        (r#"{"body":{"string_value":"snake"}}"#, "snake", "", None),
        (r#"{"body":{"stringValue":5}}"#, "5", "", None),
        (r#"{"body":{"doubleValue":"NaN"}}"#, "NaN", "", None),
        (r#"{"body":{"bytesValue":"AAE="}}"#, "0001", "", None),
        (r#"{"body":{"a":1}}"#, r#"{"a":1}"#, "a", Some(FieldValue::Int(1))),
        (r#"{"body":"b","timeUnixNano":"abc"}"#, "b", "time_unix_nano", is("abc")),
        (r#"{"body":"b","traceId":"zz"}"#, "b", "trace_id", is("zz")),
        (r#"{"body":"b","flags":"257"}"#, "b", "trace_flags", Some(FieldValue::Int(257))),
        (r#"{"body":"b","flags":"sampled"}"#, "b", "trace_flags", is("sampled")),
        (r#"{"body":"b","attributes":{"k":"v"}}"#, "b", "k", is("v")),
        (r#""text""#, r#""text""#, POISON_FIELD, is("a record that is no object")),
    ] {
        let fixture = fixture();
        let (status, answer) = fixture
            .ask("POST", "/v1/logs", &headers, json(&format!(r#"{record},{{"body":"next"}}"#)))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let records = fixture.records();
        assert_eq!(records[0].message, message, "{record}");
        assert_eq!(records[1].message, "next", "{record}");
        if !name.is_empty() {
            assert_eq!(field(&records[0], name).cloned(), expected, "{record}");
        }
    }
    let fixture = fixture();
    let warn = json(r#"{"body":"b","severityNumber":"SEVERITY_NUMBER_WARN2"}"#);
    fixture.ask("POST", "/v1/logs", &headers, warn).await;
    assert_eq!(fixture.records()[0].level.name(), "warn");
    for body in [
        "null",
        "[]",
        r#"[{"resourceLogs":[]}]"#,
        r#"{"resourceLogs":{"scopeLogs":[]}}"#,
        r#"{"resourceLogs":[{"scopeLogs":{"logRecords":[]}}]}"#,
    ] {
        let (status, _) = fixture.ask("POST", "/v1/logs", &headers, body.into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(fixture.records().len(), 1);
}

#[tokio::test]
async fn a_record_nested_too_deep_costs_its_neighbours_nothing() {
    let deep = (0..200).fold(any("x"), |inner, _| {
        Some(AnyValue {
            value: Some(Any::Array(message::Array { values: inner.into_iter().collect() })),
        })
    });
    let logs = vec![
        LogRecord { body: deep, ..LogRecord::default() },
        LogRecord { body: any("next"), ..LogRecord::default() },
    ];
    let fixture = fixture();
    let (status, _) = fixture.ask("POST", "/v1/logs", &[], request(&logs)).await;
    assert_eq!(status, StatusCode::OK);
    let nested =
        format!("{{\"body\":{}1{}}},{{\"body\":\"last\"}}", "[".repeat(200), "]".repeat(200));
    let headers = [("content-type", "application/json")];
    let (status, answer) = fixture.ask("POST", "/v1/logs", &headers, json(&nested)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let records = fixture.records();
    assert_eq!(records.len(), 4);
    assert!(
        field(&records[0], POISON_FIELD).is_some() && field(&records[2], POISON_FIELD).is_some()
    );
    assert_eq!((records[1].message.as_str(), records[3].message.as_str()), ("next", "last"));
}

#[tokio::test]
async fn what_is_over_a_bound_is_kept_and_said() {
    let fixture = fixture();
    let many = (0..5_000).map(|n| pair(&format!("f{n}"), "x")).collect();
    let logs = vec![
        LogRecord { body: any("one"), attributes: many, ..LogRecord::default() },
        LogRecord { body: any("two"), ..LogRecord::default() },
    ];
    let (status, answer) = fixture.ask("POST", "/v1/logs", &[], request(&logs)).await;
    assert_eq!(status, StatusCode::OK);
    let answer = message::Response::decode(answer.as_bytes()).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 0);
    assert!(partial.error_message.contains("_poison"));
    let records = fixture.records();
    assert!(field(&records[0], POISON_FIELD).is_some() && records[0].message.contains("\"f4999\""));
    assert_eq!(records[1].message, "two");
    // What both share is with both.
    for name in ["resource.process.pid", "scope.name"] {
        assert_eq!(field(&records[0], name), field(&records[1], name), "{name}");
        assert!(field(&records[0], name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn of_a_long_body_the_beginning_is_kept() {
    let fixture = fixture();
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let logs = [LogRecord { body: any(&long), ..LogRecord::default() }];
    let (status, answer) = fixture.ask("POST", "/v1/logs", &[], request(&logs)).await;
    assert_eq!((status, answer.as_str()), (StatusCode::OK, ""));
    let records = fixture.records();
    assert_eq!(records[0].message.len(), MESSAGE_BYTES_MAX);
    assert_eq!(field(&records[0], KEPT_FIELD).cloned(), is("cut"));
    let bytes = i64::try_from(long.len()).unwrap();
    assert_eq!(field(&records[0], "_bytes"), Some(&FieldValue::Int(bytes)));
}

#[tokio::test]
async fn a_refusal_is_a_status_in_the_form_of_the_request() {
    let fixture = fixture();
    let (status, text) = fixture.ask("POST", "/v1/logs", &[], b"\xff".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(Status::decode(text.as_bytes()).unwrap().code, 3);
    let json = [("content-type", "application/json")];
    let (status, text) = fixture.ask("POST", "/v1/logs", &json, b"{".to_vec()).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, answer["code"].as_i64()), (StatusCode::BAD_REQUEST, Some(3)));
    let bomb = zstd::bulk::compress(&vec![0; model::limits::REQUEST_BYTES_MAX + 1], 1).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "zstd")];
    let (status, text) = fixture.ask("POST", "/v1/logs", &headers, bomb).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, answer["code"].as_i64()), (StatusCode::PAYLOAD_TOO_LARGE, Some(8)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(garbage: Vec<u8>, cut in 0_usize..200, json: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let whole = request(&[LogRecord { body: any("b"), ..LogRecord::default() }]);
            let headers: &[(&str, &str)] = if json { &[("content-type", "application/json")] } else { &[] };
            let first = request(&[LogRecord { body: any("first"), ..LogRecord::default() }]);
            fixture.ask("POST", "/v1/logs", &[], first).await;
            let bent = [&whole[..cut.min(whole.len())], &garbage[..]].concat();
            for body in [garbage.clone(), bent] {
                let (status, _) = fixture.ask("POST", "/v1/logs", headers, body).await;
                assert!(status == StatusCode::OK || status.is_client_error(), "{status}");
            }
            // Whatever came before: a good request is taken.
            let before = fixture.records().len();
            let (status, _) = fixture.ask("POST", "/v1/logs", &[], whole).await;
            assert_eq!((status, fixture.records().len()), (StatusCode::OK, before + 1));
            assert_eq!(fixture.records()[0].message, "first");
        });
    }
}

/// The service over a real connection.
mod over_grpc {
    use std::io::Write as _;

    use platform::http::Access;
    use platform::shutdown::Shutdown;
    use tonic::transport::Channel;
    use tonic::{Code, Status};
    use tower::ServiceExt as _;

    use model::limits::REQUEST_BYTES_MAX;

    use super::*;
    use crate::doors::otlp::grpc::EXPORT;
    use crate::doors::tests::{Fixture, listener};

    async fn serve(fixture: &Fixture, access: Access) -> (Channel, Shutdown) {
        let (listener, address) = listener().await;
        let shutdown = Shutdown::default();
        tokio::spawn(fixture.doors.otlp_grpc(access).serve(listener, shutdown.clone()));
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        (endpoint.connect().await.unwrap(), shutdown)
    }

    /// Sends a message, packed as the name says.
    async fn export(
        channel: &Channel,
        body: Vec<u8>,
        packing: Option<&str>,
        token: Option<&str>,
    ) -> Result<message::Response, Status> {
        let packed = match packing {
            None => body,
            Some("gzip") => {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(&body).unwrap();
                gzip.finish().unwrap()
            }
            Some(_) => zstd::bulk::compress(&body, 1).unwrap(),
        };
        let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
        let flag = [u8::from(packing.is_some())];
        let frame = [flag.as_slice(), length.as_slice(), &packed].concat();
        let mut request = axum::http::Request::post(EXPORT)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(packing) = packing {
            request = request.header("grpc-encoding", packing);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = tonic::body::Body::new(Body::from(frame));
        let answer = channel.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Err(status);
        }
        let body = axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await;
        Ok(message::Response::decode(&body.unwrap()[5..]).unwrap())
    }

    fn log(text: &str) -> LogRecord {
        LogRecord { body: any(text), ..LogRecord::default() }
    }

    #[tokio::test]
    async fn exports_are_stored_packed_or_not() {
        let fixture = fixture();
        let (channel, shutdown) = serve(&fixture, Access::new(None, false)).await;
        for packing in [None, Some("gzip"), Some("zstd")] {
            let answer = export(&channel, request(&[log("hi")]), packing, None).await.unwrap();
            assert_eq!(answer, message::Response::default());
        }
        assert_eq!(fixture.records().len(), 3);
        let many = (0..5_000).map(|n| pair(&format!("a{n}"), "x")).collect();
        let over = LogRecord { attributes: many, ..log("wide") };
        let answer = export(&channel, request(&[over]), None, None).await.unwrap();
        let partial = answer.partial_success.unwrap();
        assert_eq!(partial.rejected_log_records, 0);
        assert!(partial.error_message.contains("_poison"), "{}", partial.error_message);
        shutdown.trigger();
    }

    #[tokio::test]
    async fn refusals_are_in_the_words_of_grpc() {
        let fixture = fixture();
        let access = Access::new(Some("secret123".to_owned()), false);
        let (channel, shutdown) = serve(&fixture, access).await;
        let refused = async |body: Vec<u8>, token| {
            export(&channel, body, Some("gzip"), token).await.unwrap_err()
        };
        let token = Some("secret123");
        assert_eq!(refused(request(&[log("x")]), None).await.code(), Code::Unauthenticated);
        assert_eq!(refused(vec![0xff; 9], token).await.code(), Code::InvalidArgument);
        // Small on the wire, large unpacked.
        let bomb = vec![0; REQUEST_BYTES_MAX + 1];
        let status = refused(bomb, token).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        let plain = export(&channel, vec![0; REQUEST_BYTES_MAX + 1], None, token).await;
        assert_eq!(plain.unwrap_err().code(), Code::ResourceExhausted);
        let odd = export(&channel, vec![0], Some("snappy"), token).await.unwrap_err();
        assert_eq!(odd.code(), Code::Unimplemented);
        assert!(fixture.records().is_empty());
        shutdown.trigger();
    }

    #[test]
    fn later_is_said_with_the_time() {
        let status = grpc::status(ApiError::new(Kind::Overloaded, "the queue is full"));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let told = message::Status::decode(status.details()).unwrap();
        assert_eq!(told.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let retry = message::RetryInfo::decode(told.details[0].value.as_slice()).unwrap();
        assert_eq!(retry.retry_delay.unwrap().seconds, 1);
        let never = grpc::status(ApiError::new(Kind::Invalid, "no"));
        assert_eq!((never.code(), never.details().len()), (Code::InvalidArgument, 0));
    }

    /// Sends a body that need not be a message.
    async fn say(channel: &Channel, body: Vec<u8>, packing: Option<&str>) -> Result<(), Status> {
        let mut request = axum::http::Request::post(EXPORT)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(packing) = packing {
            request = request.header("grpc-encoding", packing);
        }
        let body = tonic::body::Body::new(Body::from(body));
        let answer = channel.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "the status of gRPC is in a header of its own");
        match Status::from_header_map(answer.headers()) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// Any bytes as a message, as a packed message, as what is no message at all: an answer in
        /// gRPC's words, on a connection that goes on.
        #[test]
        fn any_bytes_are_answered_and_cost_no_neighbour(garbage: Vec<u8>, cut in 0_usize..60) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let fixture = fixture();
                let (channel, shutdown) = serve(&fixture, Access::new(None, false)).await;
                export(&channel, request(&[log("before")]), None, None).await.unwrap();
                let whole = request(&[log("bent")]);
                let bent = [&whole[..cut.min(whole.len())], &garbage[..]].concat();
                for body in [garbage.clone(), bent] {
                    for packing in [None, Some("gzip")] {
                        let answer = export(&channel, body.clone(), packing, None).await;
                        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
                        assert!(matches!(code, Code::Ok | Code::InvalidArgument), "{code:?}");
                    }
                }
                // Nothing is gzip that begins so, and no frame has such a flag.
                let length = u32::try_from(garbage.len() + 1).unwrap().to_be_bytes();
                let unpacked = [&[1][..], &length, &[0], &garbage].concat();
                let refused = say(&channel, unpacked, Some("gzip")).await.unwrap_err();
                assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
                let frame = [&[7][..], &garbage].concat();
                let refused = say(&channel, frame, None).await.unwrap_err();
                assert_ne!(refused.code(), Code::Ok, "{refused:?}");
                export(&channel, request(&[log("after")]), None, None).await.unwrap();
                let records = fixture.records();
                let count = |text: &str| records.iter().filter(|record| record.message == text).count();
                assert_eq!([count("before"), count("after")], [1, 1], "{records:?}");
                shutdown.trigger();
            });
        }
    }
}

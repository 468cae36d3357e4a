//! What a search finds at its edges: numbers beside texts, what is missing, odd names, great numbers,
//! and times around a change of the clocks.

use super::*;

/// Six records, half an hour apart around the night in which clocks in Berlin go from 02:00 to 03:00.
async fn edges(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let lines = [
        json!({"n":1,"took_ms":5,"v":"5","ip":"10.0.0.1","empty":"","a b":"x","k:1":"y","dot.ted":"z",
            "big":u64::MAX,"mixed":5,"tid":9_007_199_254_740_992_i64}),
        json!({"n":2,"took_ms":74.5,"v":"74.5","ip":"2001:db8::1","a b":null,"mixed":"5",
            "tid":9_007_199_254_740_993_i64}),
        json!({"n":3,"took_ms":-5,"v":"-5","ip":"2001:db9::1","big":9_007_199_254_740_993_i64,
            "mixed":"text 5","tid":i64::MAX - 1}),
        json!({"n":4,"took_ms":5.0,"v":"v5","path":"/a*b/c","big":9_007_199_254_740_992_i64,"mixed":5.5,
            "tid":i64::MAX}),
        json!({"n":5,"took_ms":500,"path":"/axb/c","mixed":true,"tid":i64::MIN}),
        json!({"n":6,"path":"/a/b","big":1e300}),
    ];
    let lines = lines.into_iter().enumerate().map(|(at, mut line)| {
        let minutes = 30 * (at + 1);
        line["ts"] = json!(format!("2026-03-29T{:02}:{:02}:00Z", minutes / 60, minutes % 60));
        line["msg"] = json!("m");
        line.to_string()
    });
    fixture.append(0, &[("host", "a")], lines).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = app(&fixture);
    (fixture, app)
}

/// Asks all of them, of fresh records and of splits; those records are found whose numbers are given.
async fn check(cases: &[(&str, &[i64])]) {
    for rest in BOTH {
        let (_fixture, app) = edges(rest).await;
        for (query, expected) in cases {
            let found =
                rows(&app, json!({ "query": format!("{query} | sort n | fields n") })).await;
            let found: Vec<i64> = found.iter().map(|row| row["n"].as_i64().unwrap()).collect();
            assert_eq!(&found, expected, "{rest:?} {query}");
            let counted = json!({ "query": format!("{query} | stats count() as c") });
            assert_eq!(
                rows(&app, counted).await[0]["c"],
                json!(expected.len()),
                "{rest:?} {query}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_equal_to_numbers_and_a_word_of_texts() {
    check(&[
        ("took_ms:5", &[1, 4]),
        ("took_ms:\"5\"", &[1, 4]),
        ("took_ms:=5", &[1, 4]),
        ("took_ms:5.0", &[1, 4]),
        ("took_ms:(5 OR 74.5)", &[1, 2, 4]),
        ("took_ms:-5", &[3]),
        ("took_ms:74.5", &[2]),
        ("took_ms:74", &[]),
        ("took_ms!=5", &[2, 3, 5, 6]),
        ("v:5", &[1, 2, 3]),
        ("mixed:5", &[1, 2, 3]),
        ("mixed>=5", &[1, 2, 4]),
        ("mixed:5..6", &[1, 2, 4]),
        ("mixed:true", &[5]),
        // Stars and expressions look at texts.
        ("took_ms:5*", &[1, 2, 3, 4, 5]),
        ("took_ms:/^5$/", &[1, 4]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_holds_where_there_is_nothing() {
    check(&[
        ("NOT ip:*", &[4, 5, 6]),
        ("NOT NOT ip:*", &[1, 2, 3]),
        ("-ip:* OR took_ms:5", &[1, 4, 5, 6]),
        ("took_ms:500 OR NOT (ip:* OR path:*)", &[5]),
        ("NOT (NOT ip:*) took_ms<0", &[3]),
        ("ip:(NOT 10.0.0.1)", &[2, 3, 4, 5, 6]),
        ("NOT (took_ms:5 OR NOT (v:* -v:5))", &[]),
        // A value that is empty is there, and one that is null is not.
        ("empty:*", &[1]),
        ("-empty:*", &[2, 3, 4, 5, 6]),
        ("empty:/^$/", &[1]),
        ("empty:[\"\" TO \"\"]", &[1]),
        ("-\"a b\":*", &[2, 3, 4, 5, 6]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_networks_and_stars_are_what_they_say() {
    check(&[
        ("\"a b\":x", &[1]),
        ("`a b`:x", &[1]),
        ("`k:1`:y", &[1]),
        ("\"k:1\":y", &[1]),
        ("dot.ted:z", &[1]),
        ("\"dot.ted\":z", &[1]),
        ("ip:cidr(2001:db8::/32)", &[2]),
        ("cidr(2001:db8::/31)", &[2, 3]),
        ("ip:cidr(2001:db8::1)", &[2]),
        ("NOT ip:cidr(2001:db8::/31) ip:*", &[1]),
        (r"path:/a\**", &[4]),
        (r"path:/a\*b/*", &[4]),
        ("path:/a*b/c", &[4, 5]),
        ("path:\"/a*b/c\"", &[4]),
        ("path:/a*b", &[4, 5, 6]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn great_numbers_spans_and_times_compare() {
    check(&[
        ("big:9007199254740993", &[3]),
        ("big:9007199254740992", &[4]),
        ("big:18446744073709551615", &[1]),
        ("big:1e300", &[6]),
        ("big>1e18", &[1, 6]),
        ("big:[9007199254740992 TO 9007199254740993]", &[3, 4]),
        ("big:[9007199254740993 TO 9007199254740993]", &[3]),
        ("big>9007199254740992", &[1, 3, 6]),
        ("big<9007199254740993", &[4]),
        ("big>=18446744073709551615", &[1, 6]),
        ("big>18446744073709551615", &[6]),
        ("big<18446744073709551615", &[3, 4]),
        ("| where big > 9007199254740992", &[1, 3, 6]),
        ("| where 9007199254740993 == big", &[3]),
        ("| where big >= 18446744073709551615", &[1, 6]),
        ("| where big in (9007199254740992, 18446744073709551615)", &[1, 4]),
        ("took_ms:5ms..1s", &[1, 2, 4, 5]),
        ("took_ms<=5ms", &[1, 3, 4]),
        ("took_ms>0.4s", &[5]),
        // Two in the morning is three: there is no moment between.
        ("timestamp<\"2026-03-29T02:00:00+01:00\"", &[1]),
        ("timestamp>=\"2026-03-29T03:00:00+02:00\"", &[2, 3, 4, 5, 6]),
        ("timestamp:2026-03-29T01", &[2, 3]),
        (
            "| where time_bin(timestamp, \"hour\", \"Europe/Berlin\") == \"2026-03-29T01:00:00Z\"",
            &[2, 3],
        ),
        (
            "| where time_bin(timestamp, \"day\", \"Europe/Berlin\") == \"2026-03-28T23:00:00Z\"",
            &[1, 2, 3, 4, 5, 6],
        ),
        ("from 2026-03-29T01:00 to 2026-03-29T02:30", &[2, 3, 4]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_are_told_from_their_neighbours() {
    check(&[
        ("tid:9007199254740993", &[2]),
        ("tid!=9007199254740993", &[1, 3, 4, 5, 6]),
        ("tid>9007199254740992", &[2, 3, 4]),
        ("tid>=9007199254740993", &[2, 3, 4]),
        ("tid<9007199254740993", &[1, 5]),
        ("tid:9007199254740993..9223372036854775806", &[2, 3]),
        ("tid>9223372036854775806", &[4]),
        ("tid>=9223372036854775808", &[]),
        ("tid:9223372036854775808", &[]),
        ("tid<=-9223372036854775808", &[5]),
        ("tid<-9223372036854775808", &[]),
        ("tid<18446744073709551615", &[1, 2, 3, 4, 5]),
        ("| where tid > 9007199254740992", &[2, 3, 4]),
        ("| where tid == 9007199254740993", &[2]),
        ("| where tid != 9007199254740993", &[1, 3, 4, 5, 6]),
        ("| where tid > \"9223372036854775806\"", &[4]),
        ("| where tid >= 9223372036854775808", &[]),
        ("| where tid < 18446744073709551615", &[1, 2, 3, 4, 5]),
        ("| where tid == -9223372036854775808", &[5]),
        ("| where tid <= -9223372036854775809", &[]),
        ("| where tid in (9007199254740993, 9223372036854775807)", &[2, 4]),
        ("| where tid in (tid:9007199254740993 | fields tid)", &[2]),
        ("| where tid not in (tid:9007199254740993 | fields tid) and n < 4", &[1, 3]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_are_sorted_and_their_ends_found_exactly() {
    for rest in BOTH {
        let (_fixture, app) = edges(rest).await;
        let found = async |query: &str| rows(&app, json!({ "query": query })).await;
        let sorted = found("tid:* | sort tid | fields n").await;
        let sorted: Vec<i64> = sorted.iter().map(|row| row["n"].as_i64().unwrap()).collect();
        assert_eq!(sorted, [5, 1, 2, 3, 4], "{rest:?}");
        let ends = found("tid<9223372036854775807 | stats min(tid) as a, max(tid) as b").await;
        assert_eq!(ends, [json!({"a": i64::MIN, "b": i64::MAX - 1})], "{rest:?}");
        let sql = "SELECT n FROM logs WHERE tid > 9007199254740992 AND tid < 9223372036854775807 ORDER BY tid";
        let response = post(&app, "/api/v1/sql", &json!({ "sql": sql })).await;
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: Vec<i64> = lines.filter_map(|line| line["row"]["n"].as_i64()).collect();
        assert_eq!(found, [2, 3], "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_63_bits_are_put_in_order_as_numbers() {
    for rest in BOTH {
        let (fixture, app) = edges(rest).await;
        // All of `id` are kept as texts, and of `seq` those that are great.
        let given: [(i64, &str, &str); 5] = [
            (11, "18446744073709551615", "18446744073709551615"),
            (12, "9223372036854775808", "7"),
            (13, "9999999999999999999", "9999999999999999999"),
            (14, "10000000000000000000", "10000000000000000000"),
            (15, "10000000000000000001", "10"),
        ];
        let lines =
            given.map(|(n, id, seq)| format!(r#"{{"msg":"u","n":{n},"id64":{id},"seq":{seq}}}"#));
        fixture.append(1, &[("host", "b")], lines).await;
        let numbers = async |query: &str| {
            let found = rows(&app, json!({ "query": query })).await;
            found.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(numbers("u | sort id64 | fields n").await, [12, 13, 14, 15, 11], "{rest:?}");
        assert_eq!(numbers("u | sort id64 desc | fields n").await, [11, 15, 14, 13, 12]);
        assert_eq!(numbers("u | sort seq | fields n").await, [12, 15, 13, 14, 11], "{rest:?}");
        assert_eq!(numbers("u | sort seq desc | limit 2 | fields n").await, [11, 14]);
        assert_eq!(numbers("big:* | sort big | fields n").await, [4, 3, 1, 6], "{rest:?}");
        assert_eq!(
            numbers("u | where id64 > 9999999999999999999 | sort n | fields n").await,
            [11, 14, 15]
        );
        let ends = json!({ "query": "u | stats min(id64) as a, max(id64) as b, min(seq) as c, max(seq) as d, \
            max(seq) where n != 11 as e by host" });
        let expected = json!({ "host": "b", "a": "9223372036854775808", "b": "18446744073709551615",
            "c": "7", "d": "18446744073709551615", "e": "10000000000000000000" });
        assert_eq!(rows(&app, ends).await, [expected], "{rest:?}");
        let grouped = "u | stats count() by id64 | eval n = 1 | sort id64 desc | fields id64";
        let grouped = rows(&app, json!({ "query": grouped })).await;
        assert_eq!(grouped.first().unwrap()["id64"], "18446744073709551615", "{rest:?}");
        // Texts are in the order of texts, behind numbers.
        assert_eq!(numbers("path:* | sort path | fields n").await, [4, 6, 5], "{rest:?}");
        let path = rows(&app, json!({ "query": "| stats min(path) as a, max(path) as b" })).await;
        assert_eq!(path, [json!({ "a": "/a*b/c", "b": "/axb/c" })], "{rest:?}");
        assert_eq!(
            numbers("mixed:* NOT mixed:true | sort mixed, n | fields n").await,
            [1, 2, 4, 3]
        );
    }
}

//! Records and filters by chance, of few enough words that they meet.

use model::number::Number;
use model::time::Period;

use super::oracle::TIMES;
use super::*;

const WORDS: [&str; 15] = [
    "error",
    "ERROR",
    "connection",
    "refused",
    "10.0.0.1",
    "id=42",
    "naïve",
    "错误日志",
    "a/b",
    "😀",
    "x",
    "user_7",
    // Ids that begin alike, and encoded bytes: they are kept by their beginnings.
    "4bf92f3577b34da6a3ce",
    "4BF92f3577c34da6a3ce",
    "eyjhbgcioijiuzi1niisinr5cci6ikpxvcj9",
];

/// Whole numbers that floats confuse, and their neighbours.
const INTS: [i64; 8] =
    [0, -4, 1 << 60, (1 << 53) + 1, 1 << 53, i64::MAX, i64::MIN, 1_152_921_504_606_847_000];
const NUMBERS: [&str; 12] = [
    "4",
    "-4",
    "04",
    "2.50",
    "1e0",
    "9007199254740993",
    "9007199254740992.0",
    "1152921504606846976",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
];

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned),
        1 => "[a-d]{1,3}[0-9]{0,2}",
        1 => any::<char>().prop_map(String::from),
    ];
    let free = prop::collection::vec(word, 0..6).prop_map(|words| words.join(" "));
    prop_oneof![2 => free, 3 => formatted()]
}

/// What programs write: some texts with something in them that varies.
fn formatted() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["ann", "ERROR", "x", "错误日志", "user_7", "refused"]);
    (0..6, 0..30, name).prop_map(|(format, n, name)| match format {
        4 => format!("peer:2001:db8::{n:x}: {name}"),
        5 => format!("来自10.0.0.{n}的{name} ::{n:x}"),
        0 => format!("connection refused by 10.0.0.{n}: {name}"),
        1 => format!("[{n}] error {name} a/b"),
        2 => format!("错误{n}日志 naïve {name}/connection"),
        _ => format!("refused {name}connection x"),
    })
}

fn value() -> impl Strategy<Value = FieldValue> {
    prop_oneof![
        text().prop_map(FieldValue::Text),
        (0_i64..60).prop_map(FieldValue::Int),
        (0_i64..60).prop_map(|n| FieldValue::Text(n.to_string())),
        prop::sample::select(TIMES.to_vec()).prop_map(|time| FieldValue::Text(time.0.to_owned())),
        (0_i32..12).prop_map(|n| FieldValue::Float(f64::from(n) / 4.0)),
        prop::sample::select(INTS.to_vec()).prop_map(FieldValue::Int),
        prop::sample::select(INTS.to_vec()).prop_map(|n| FieldValue::Float(n as f64)),
        prop::sample::select(NUMBERS.to_vec()).prop_map(|n| FieldValue::Text(n.to_owned())),
        any::<bool>().prop_map(FieldValue::Bool),
    ]
}

/// Times that are written alike, but for a few.
fn moment() -> impl Strategy<Value = String> {
    prop_oneof![
        300 => prop::sample::select(TIMES[5..].to_vec()).prop_map(|time| time.0.to_owned()),
        1 => prop::sample::select(TIMES.to_vec()).prop_map(|time| time.0.to_owned()),
    ]
}

/// Fractions of few digits, but for a few.
fn fraction() -> impl Strategy<Value = f64> {
    prop_oneof![
        300 => (-40_i32..400, 0_i32..3).prop_map(|(n, scale)| f64::from(n) / 10_f64.powi(scale)),
        1 => prop::sample::select(vec![-0.0, 0.1 + 0.2, 1e300, 1.0 / 3.0]),
    ]
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let fields =
        prop::collection::vec((prop::sample::select(vec!["a", "b", "c.d"]), value()), 0..4);
    let typed = (prop::option::of(moment()), prop::option::of(fraction()));
    (0_i64..40, 0_u8..7, text(), fields, typed).prop_map(|(time, level, message, fields, typed)| {
        let at = typed.0.map(|at| ("at", FieldValue::Text(at)));
        let cost = typed.1.map(|cost| ("cost", FieldValue::Float(cost)));
        let fields = fields.into_iter().chain(at).chain(cost);
        Record {
            timestamp: Some(Timestamp(time)),
            level: Level::from_number(level),
            message,
            fields: fields.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    })
}

fn text_match() -> impl Strategy<Value = TextMatch> {
    let part = prop_oneof![
        prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned),
        prop::sample::select(vec![
            "rro",
            "conn",
            "0.0",
            "4",
            "refused x",
            "ion refused by 10",
            "error ann a",
            " refused",
            "x ",
            " ",
            "日",
            "b",
            "4da6",
            "4bf92f3577b3",
            "4bf92f3577d3",
            "i1niis",
            "a3ce x",
            "577b34da6a3ce",
            "7x",
        ])
        .prop_map(str::to_owned),
    ];
    let number = prop::sample::select(NUMBERS.to_vec()).prop_map(str::to_owned);
    prop_oneof![
        3 => part.clone().prop_map(TextMatch::Phrase),
        1 => number.prop_map(TextMatch::Phrase),
        1 => (prop::collection::vec(part.clone(), 0..3), any::<bool>(), any::<bool>()).prop_map(
            |(parts, open_start, open_end)| TextMatch::Pattern { parts, open_start, open_end }
        ),
        1 => part.prop_map(|text| TextMatch::Cased(Box::new(TextMatch::Phrase(text)))),
        1 => prop::sample::select(vec!["^conn", "(?i)ERR", r"\d+$", r"\bb\b", "(", "refused|日"])
            .prop_map(|source| TextMatch::Regex(source.to_owned())),
        1 => (0_u8..=32).prop_map(|prefix| {
            TextMatch::Network { address: std::net::Ipv4Addr::new(10, 0, 0, 1).into(), prefix }
        }),
        1 => (0_u8..=128).prop_map(|prefix| {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            TextMatch::Network { address: address.into(), prefix }
        }),
    ]
}

fn bound() -> impl Strategy<Value = Bound> {
    let literal = prop_oneof![
        (0_i32..60).prop_map(|n| Literal::Number(f64::from(n))),
        prop::sample::select(NUMBERS.to_vec())
            .prop_map(|n| Literal::of_number(Number::read(n).unwrap())),
        (0_i32..60).prop_map(|n| Literal::Size(f64::from(n))),
        (0_i32..60).prop_map(|n| Literal::Duration(f64::from(n))),
        prop::sample::select(vec!["error", "m", "warn"]).prop_map(|t| Literal::Text(t.to_owned())),
        prop::sample::select(TIMES.to_vec()).prop_map(|(text, first, last)| Literal::Time {
            period: Period { first: Timestamp(first), last: Timestamp(last) },
            text: text.to_lowercase(),
        }),
    ];
    prop_oneof![
        Just(Bound::Open),
        literal.clone().prop_map(Bound::Inclusive),
        literal.prop_map(Bound::Exclusive)
    ]
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let test = prop_oneof![
        Just(FieldTest::Exists),
        Just(FieldTest::ExistsBelow),
        text_match().prop_map(FieldTest::Matches),
        (bound(), bound()).prop_map(|(from, to)| FieldTest::Between { from, to }),
    ];
    let name = prop::sample::select(vec![
        "a", "b", "c", "c.d", "at", "cost", "level", "message", "host", "nowhere",
    ]);
    let leaf = prop_oneof![
        Just(Filter::All),
        text_match().prop_map(Filter::Text),
        (name, test).prop_map(|(name, test)| Filter::Field { name: name.to_owned(), test }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::Or),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

//! What is typed and what is understood, or where it is wrong.

use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use proptest::prelude::*;

use super::*;

/// A filter in one line, for comparing.
fn show(filter: &Filter) -> String {
    let join = |parts: &[Filter], word: &str| {
        format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(word))
    };
    match filter {
        Filter::All => "all".to_owned(),
        Filter::And(parts) => join(parts, " & "),
        Filter::Or(parts) => join(parts, " / "),
        Filter::Not(part) => format!("!{}", show(part)),
        Filter::Text(text) => show_text(text),
        Filter::Field { name, test } => match test {
            FieldTest::Exists => format!("{name}?"),
            FieldTest::ExistsBelow => format!("{name}.?"),
            FieldTest::Matches(text) => format!("{name}~{}", show_text(text)),
            FieldTest::Between { from, to } => {
                let shown = |literal: &Literal| match literal {
                    Literal::Number(n) => format!("{n}"),
                    Literal::Whole(n) => format!("{n}!"),
                    Literal::Text(t) => format!("'{t}'"),
                    Literal::Time { text, .. } => format!("t'{text}'"),
                    Literal::Duration(n) => format!("{n}ns"),
                    Literal::Size(n) => format!("{n}B"),
                };
                let end = |bound: &Bound, open: char, closed: char| match bound {
                    Bound::Open => format!("{open}"),
                    Bound::Inclusive(literal) => format!("{closed}{}", shown(literal)),
                    Bound::Exclusive(literal) => format!("{open}{}", shown(literal)),
                };
                format!("{name}{}..{}", end(from, '(', '['), end(to, ')', ']'))
            }
        },
    }
}

fn show_text(text: &TextMatch) -> String {
    match text {
        TextMatch::Phrase(phrase) => format!("'{phrase}'"),
        TextMatch::Pattern { parts, open_start, open_end } => {
            let star = |open: &bool| if *open { "*" } else { "" };
            format!("{}<{}>{}", star(open_start), parts.join("*"), star(open_end))
        }
        TextMatch::Cased(inner) => format!("={}", show_text(inner)),
        TextMatch::Regex(source) => format!("/{source}/"),
        TextMatch::Network { address, prefix } => format!("cidr({address}/{prefix})"),
    }
}

#[track_caller]
pub(super) fn check(given: &str, expected: &str) {
    match parse(given) {
        Ok(query) => assert_eq!(show(&query.filter), expected, "{given}"),
        Err(error) => panic!("{given}: {error} at {}", error.start),
    }
}

#[track_caller]
pub(super) fn wrong(given: &str, place: (usize, usize), message: &str) {
    let error = parse(given).expect_err(given);
    assert_eq!((error.start, error.end), place, "{given}: {error}");
    assert!(error.message.contains(message), "{given}: {error}");
}

#[test]
fn words_and_phrases() {
    check("", "all");
    check("*", "all");
    check("Error", "'error'");
    check("a b", "('a' & 'b')");
    check("a AND b OR c", "(('a' & 'b') / 'c')");
    check("a (b OR c)", "('a' & ('b' / 'c'))");
    check("NOT a", "!'a'");
    check("-a !b", "(!'a' & !'b')");
    check("a - b", "('a' & '-' & 'b')");
    check(r#""Connection refused""#, "'connection refused'");
    check(r#""say \"hi\" \\""#, r#"'say "hi" \'"#);
    check("and or not", "('and' & 'or' & 'not')");
}

#[test]
fn punctuation_belongs_to_words() {
    check("10.0.0.1", "'10.0.0.1'");
    check("/var/log/x", "'/var/log/x'");
    check("a=b", "'a=b'");
    check("a == b", "('a' & '==' & 'b')");
    check("12:30:01", "'12:30:01'");
    check("http://x/y", "'http://x/y'");
    check("[error]", "'[error]'");
    check("a->b", "'a->b'");
}

#[test]
fn stars() {
    check("conn*", "<conn>*");
    check("*conn", "*<conn>");
    check("a*b", "<a*b>");
    check(r"a\*b", "'a*b'");
    check("path:/api/*/x", "path~</api/*/x>");
}

#[test]
fn fields() {
    check("level:error", "level~'error'");
    check(r#"user:"a b""#, "user~'a b'");
    check(r#""my field":x"#, "my field~'x'");
    check("a.b-c:*", "a.b-c?");
    check("status>=500", "status[500..)");
    check("status:>=500", "status[500..)");
    check("status<5 status!=3", "(status(..)5 & !status~'3')");
    check("status:500..599", "status[500..]599");
    check("status:[400 TO 500}", "status[400..)500");
    check("time:{* TO 5]", "time(..]5");
    check("level>=warn", "level['warn'..)");
    check("user:(a OR b*)", "(user~'a' / user~<b>*)");
    check("status:(>=1 <5)", "(status[1..) & status(..)5)");
}

/// The range of the moments from `first` to `last`, written short, as [`show`] shows it.
fn moments(name: &str, first: &str, last: &str) -> String {
    let whole = |moment: &str, rest: &str| match moment {
        "" => String::new(),
        moment => {
            let (at, sign) = moment.split_at(1);
            format!("{at}'{sign}{}Z'", rest.get(sign.len()..).unwrap_or_default())
        }
    };
    let open =
        |side: String, bracket: &str| if side.is_empty() { bracket.to_owned() } else { side };
    let first = open(whole(first, "0000-01-01T00:00:00.000000000"), "(");
    let last = open(whole(last, "0000-12-31T23:59:59.999999999"), ")");
    format!("{name}{first}..{last}")
}

#[test]
fn a_time_is_all_of_what_it_names() {
    let (day, hour) = ("[2026-01-31", "[2026-01-31T10");
    check("timestamp:2026-01-31", &moments("timestamp", day, "]2026-01-31"));
    check("timestamp:2026-01-31T10", &moments("timestamp", hour, "]2026-01-31T10"));
    check(r#"ingest_time:"2026-01-31 10""#, &moments("ingest_time", hour, "]2026-01-31T10"));
    check("timestamp:2025-12", &moments("timestamp", "[2025-12", "]2025-12"));
    check("timestamp:2026", &moments("timestamp", "[2026", "]2026"));
    check(
        "timestamp:1767225600",
        &moments("timestamp", "[2026-01-01T00:00:00", "]2026-01-01T00:00:00"),
    );
    check("timestamp!=2026-01-31", &format!("!{}", moments("timestamp", day, "]2026-01-31")));
    check("timestamp>=2026-01-31", &moments("timestamp", day, ""));
    check("timestamp<=2026-01-31", &moments("timestamp", "", "]2026-01-31"));
    check("timestamp>2026-01-31", "timestamp('2026-01-31T23:59:59.999999999Z'..)");
    check("timestamp<2026-01-31", "timestamp(..)'2026-01-31T00:00:00.000000000Z'");
    check(
        "timestamp:{2026-01 TO 2026-02-01T10]",
        "timestamp('2026-01-31T23:59:59.999999999Z'..]'2026-02-01T10:59:59.999999999Z'",
    );
    // All of January is before.
    wrong("timestamp:{2026-01 TO 2026-01-31T10]", (10, 36), "nothing lies in");
    check(
        r#"timestamp:[* TO "2026-01-01 12:00+02:00"]"#,
        "timestamp(..]'2026-01-01T10:00:59.999999999Z'",
    );
    check("timestamp:2026-01-31T10:*", "timestamp~<2026-01-31t10:>*");
    wrong("timestamp:noon", (10, 14), "is no time");
    wrong(r#"timestamp:"10:00""#, (10, 17), "is no time");
    wrong("timestamp:2026-02-30", (10, 20), "is no time");
}

#[test]
fn ranges_of_two_dots() {
    let days = moments("timestamp", "[2026-01-01", "]2026-01-02");
    check("timestamp:2026-01-01..2026-01-02", &days);
    check("timestamp:*..2026-01-02", &moments("timestamp", "", "]2026-01-02"));
    check("level:info..error", "level['info'..]'error'");
    check("level:*..warn", "level(..]'warn'");
    check("status:500..*", "status[500..)");
    check("status:*..499", "status(..]499");
    check("status:(*..499 OR 5e2..6e2)", "(status(..]499 / status[500..]600)");
    check("took:0..1m30s", "took[0ns..]90000000000ns");
    check("size:100..20MB", "size[100B..]20000000B");
    check("expires:2026-01-01..2026-02", "expires[t'2026-01-01'..]t'2026-02'");
    check("id:0-1f4..0-200", "id['0-1f4'..]'0-200'");
    for (word, hint) in [
        ("user:a..m", "user:[a TO m]"),
        ("user:*..m", "user:[* TO m]"),
        ("version:1.2.3..1.3.0", "\"1.2.3..1.3.0\""),
        ("status:500..", "status:500..*"),
        ("status:..499", "status:*..599"),
    ] {
        let error = parse(word).expect_err(word);
        assert_eq!(error.end, word.chars().count(), "{word}: {error}");
        assert!(error.message.contains("is no range") && !error.expected.is_empty(), "{error}");
        assert!(error.hint.as_ref().is_some_and(|said| said.contains(hint)), "{word}: {error:?}");
    }
    wrong("took:5..1m", (5, 10), "of one kind");
    wrong("level:info..loud", (6, 16), "is no level");
    wrong("| timechart 0m count()", (12, 14), "longer than nothing");
    wrong("timestamp:2026-01-01..", (10, 22), "is no range");
    wrong(r#"timestamp:"2026-01-01".."2026-01-02""#, (22, 24), "in brackets");
    // Paths, dots at an end, three dots, and what is quoted or escaped are text.
    check("path:/a/../b", "path~'/a/../b'");
    check("note:wait..", "note~'wait..'");
    check("note:a...b", "note~'a...b'");
    check(r#"note:"1..2""#, "note~'1..2'");
    check(r"note:1\..2", "note~'1..2'");
    check("file:lib*..so", "file~<lib*..so>");
    check("1..2", "'1..2'");
}

#[test]
fn a_star_that_touches_a_quote_belongs_to_it() {
    check(r#"*"connection refused"*"#, "*<connection refused>*");
    check(r#""Connection ref"*"#, "<connection ref>*");
    check(r#"*"ion refused""#, "*<ion refused>");
    check(r#"user:*"ice sm"*"#, "user~*<ice sm>*");
    check(r#"conn*"d by"*peer"#, "<conn*d by*peer>");
    check(r#"=*"Not F"*"#, "=*<Not F>*");
    check(r#"-"a*b"* c"#, "(!<a*b>* & 'c')");
    check(r#"*"a b"c"#, "(*<a b> & 'c')");
    check(r#"* "a b" *"#, "(*<>* & 'a b' & *<>*)");
    check(r#"user:\*"#, "user~'*'");
    wrong(r#"*""*"#, (1, 2), "empty phrase");
    wrong(r#"*"abc"#, (1, 5), "not closed");
}

#[test]
fn what_stands_between_two_slashes_is_an_expression() {
    for (given, expected) in [
        ("/log/", "/log/"),
        ("/tmp/ x", "(/tmp/ & 'x')"),
        ("/home/i", "/(?i)home/"),
        ("/home/ian", "'/home/ian'"),
        ("/a b/", "/a b/"),
        (r"/a\/b/", "/a/b/"),
        ("/var/log/", "'/var/log/'"),
        ("/var/log/i", "'/var/log/i'"),
        ("/tmp", "'/tmp'"),
        ("//", "'//'"),
        ("x/tmp/", "'x/tmp/'"),
        (r#""/tmp/""#, "'/tmp/'"),
        ("path:/tmp/", "path~/tmp/"),
        ("path:/tmp/*", "path~</tmp/>*"),
        ("(/tmp/)", "/tmp/"),
    ] {
        check(given, expected);
    }
}

#[test]
fn exact_case_regular_expressions_and_networks() {
    check("=Error", "='Error'");
    check(r#"="Not Found" user:=Al*"#, "(='Not Found' & user~=<Al>*)");
    check("/time(d )?out/", "/time(d )?out/");
    check(r"/GET \/api/i", r"/(?i)GET /api/");
    check("path:/^[a-c]+$/", "path~/^[a-c]+$/");
    check("/var/log/", "'/var/log/'");
    check("/tmp", "'/tmp'");
    check("cidr(10.0.0.0/8)", "cidr(10.0.0.0/8)");
    check("ip:cidr(2001:db8::/32)", "ip~cidr(2001:db8::/32)");
    check("ip:cidr(10.0.0.1)", "ip~cidr(10.0.0.1/32)");
    check("cidr", "'cidr'");
    wrong("/a(/", (0, 4), "regular expression is wrong");
    wrong("ip:cidr(10.0.0.0/33)", (8, 19), "no network");
}

#[test]
fn spans_and_sizes() {
    check("took>5ms", "took(5000000ns..)");
    check("took:1s..1m30s", "took[1000000000ns..]90000000000ns");
    check("size>=10KB", "size[10000B..)");
    check("size:[1KiB TO *]", "size[1024B..)");
    check(r#"took>"5ms""#, "took('5ms'..)");
    check("note:5ms", "note~'5ms'");
}

#[test]
fn names_are_quoted_in_two_ways() {
    check("`my field`:x", "my field~'x'");
    check("`a``b`>=1", "a`b[1..)");
    wrong("`a b`", (5, 6), "expected ':'");
}

#[test]
fn time_words() {
    let times = |text: &str| parse(text).map(|query| (query.time, show(&query.filter))).unwrap();
    let ago = |nanos| Some(Moment::Ago(nanos));
    let at = |text: &str| Some(Moment::At(model::time::Timestamp::parse(text).unwrap()));
    let hour = 3_600_000_000_000;
    let words = |from, to| Some(TimeWords { from, to });
    assert_eq!(times("last 2h"), (words(ago(2 * hour), None), "all".to_owned()));
    assert_eq!(times("error last 1h30m"), (words(ago(hour * 3 / 2), None), "'error'".to_owned()));
    let range = times("from 2026-01-31 to -1h a b");
    assert_eq!(range, (words(at("2026-01-31T00:00:00Z"), ago(hour)), "('a' & 'b')".to_owned()));
    let range = times("to \"2026-01-31 12:00\" | limit 1");
    assert_eq!(range, (words(None, at("2026-01-31T12:00:00Z")), "all".to_owned()));
    assert_eq!(times("from now-1h to now").0, words(ago(hour), ago(0)));
    check("last words", "('last' & 'words')");
    check("from here to there", "('from' & 'here' & 'to' & 'there')");
    check("from 10 to 20", "('from' & '10' & 'to' & '20')");
    wrong("a OR last 2h", (5, 12), "the whole search");
    wrong("last 2h a OR b", (0, 12), "the whole search");
    wrong("(last 2h)", (1, 8), "the whole search");
    wrong("NOT last 2h", (4, 11), "the whole search");
    wrong("last 2h last 3h", (8, 15), "once");
}

#[test]
fn pipes() {
    let pipes = |text| parse(text).map(|query| query.pipes).unwrap();
    let count = Aggregate {
        function: Function::Count,
        argument: None,
        condition: None,
        name: "n".to_owned(),
    };
    assert_eq!(
        pipes(
            "error | stats count() as n by service, bin(timestamp, 1h30m) | sort n desc | limit 5"
        ),
        [
            Pipe::Stats {
                aggregates: vec![count],
                by: vec![
                    Group::Field("service".to_owned()),
                    Group::Bin { width: Some(5_400_000_000_000) }
                ]
            },
            Pipe::Sort(vec![SortKey { name: "n".to_owned(), descending: true, numbers: true }]),
            Pipe::Limit(5),
        ]
    );
    assert_eq!(
        pipes("| fields a, \"b c\""),
        [Pipe::Fields(vec!["a".to_owned(), "b c".to_owned()])]
    );
    let Some(Pipe::Stats { aggregates, .. }) =
        pipes("* | stats avg(x), count(x)").into_iter().next()
    else {
        panic!("no stats")
    };
    let names: Vec<&str> = aggregates.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["avg_x", "count_x"]);
}

#[test]
fn errors_point_at_the_column() {
    wrong("foo:(bar", (8, 9), "expected ')'");
    wrong("foo:", (4, 5), "expected a value");
    wrong("a OR", (4, 5), "expected a word");
    wrong("OR a", (0, 2), "between two terms");
    wrong("\"abc", (0, 4), "not closed");
    wrong("a)", (1, 2), "closes nothing");
    wrong("é | stat count()", (4, 8), "no pipe");
    wrong("| stats cnt()", (8, 11), "no aggregate");
    wrong("| stats sum()", (12, 13), "wants a field");
    wrong("| limit x", (8, 9), "whole number");
    wrong("a\u{a0}b", (1, 2), "no-break space");
    wrong("“a”", (0, 1), "typographic quote");
    wrong("x:[1 2]", (5, 6), "expected TO");
    wrong("* | stats count() as n by a | sort m", (35, 36), "no column");
    wrong("* | fields a | sort b", (20, 21), "no column");
    wrong("timestamp>noon", (10, 14), "is no time");
    wrong("level>=loud", (7, 11), "is no level");
    wrong("error: full", (6, 7), "expected a value");
    wrong("* | patterns | sort n", (20, 21), "no column");
    let spelt = "* | stats count() as count, min(timestamp) as first_seen, \
                 max(timestamp) as last_seen, min(message) as example by _pattern \
                 | sort count desc";
    assert_eq!(parse("* | patterns").unwrap(), parse(spelt).unwrap());
    assert_eq!(parse("| stts count()").unwrap_err().hint.as_deref(), Some("did you mean stats?"));
    assert!(parse(&"(".repeat(100_000)).is_err());
    assert!(parse(&"(".repeat(60_000)).unwrap_err().message.contains("nested deeper"));
}

#[test]
fn errors_in_pipes_point_at_the_column() {
    wrong("| where", (7, 8), "expected a value");
    wrong("| where a <", (11, 12), "expected a value");
    wrong("| where a = 1", (10, 11), "compared with ==");
    wrong("| where 1 < a < 3", (14, 15), "do not follow");
    wrong("| where lowr(a) == \"x\"", (8, 12), "no function");
    wrong("| where length(a, b) > 1", (8, 20), "wants 1 arguments");
    wrong("| where a =~ b", (13, 14), "regular expression");
    wrong("| eval a == 1", (9, 10), "expected '='");
    wrong("| stats quantile(2, a)", (17, 18), "from 0 to 1");
    wrong("| stats rate(a)", (14, 15), "takes nothing");
    wrong("| stats count() as n | where m > 1", (29, 30), "no column");
    wrong("| extract \"abc\"", (10, 15), "has a name");
    wrong("| extract \"<a><b>\"", (10, 18), "beside each other");
    wrong("| parse xml", (8, 11), "expected a format");
    wrong("| join a (error)", (9, 16), "end in a table");
    wrong("| fields a | union (error)", (19, 26), "cannot be joined");
    wrong("| sample 0", (9, 10), "one of how many");
    wrong("| context", (9, 10), "how many records");
    wrong("| context before", (16, 17), "whole number");
    wrong("| context 1001", (10, 14), "at most 1000");
    wrong("| context before 1 before 2", (19, 25), "expected '|'");
    wrong("| eval a = 1 | context 2", (15, 22), "as they were searched");
    wrong("| fields message | context 2", (19, 26), "as they were searched");
    wrong("| top", (5, 6), "expected a field");
    wrong("| rename a b", (11, 12), "expected as");
    wrong("| union (a", (10, 11), "expected \")\"");
    let deep = format!("| where {}a{}", "(".repeat(1_000), ")".repeat(1_000));
    assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
    let long = format!("| where {}1", "1 + ".repeat(10_000));
    assert!(parse(&long).unwrap_err().message.contains("operators"), "{:?}", parse(&long).is_ok());
}

#[test]
fn tokens_cover_what_was_understood() {
    let text =
        r#"level:error -"é x" last 2h | stats count() as n by bin(timestamp, 1m) | sort n desc"#;
    let (read, tokens) = read(text);
    assert!(read.is_ok());
    let characters: Vec<char> = text.chars().collect();
    let shown: Vec<String> = tokens
        .iter()
        .map(|token| {
            let part: String = characters[token.start..token.end].iter().collect();
            format!("{}={part}", token.kind.name())
        })
        .collect();
    let expected = [
        "field=level",
        "operator=:",
        "value=error",
        "operator=-",
        "phrase=\"é x\"",
        "time=last 2h",
        "bracket=|",
        "pipe=stats",
        "function=count",
        "bracket=(",
        "bracket=)",
        "keyword=as",
        "column=n",
        "keyword=by",
        "function=bin",
        "bracket=(",
        "column=timestamp",
        "bracket=,",
        "number=1m",
        "bracket=)",
        "bracket=|",
        "pipe=sort",
        "column=n",
        "keyword=desc",
    ];
    assert_eq!(shown, expected);
    let (wrong, tokens) = super::read("level:error | stat count()");
    assert!(wrong.is_err());
    assert_eq!(tokens.len(), 5);
}

/// The lines of the blocks of a kind in docs/query.md.
pub(crate) fn examples(kind: &str) -> Vec<&'static str> {
    let mut inside = false;
    let page = include_str!("../../../docs/query.md").lines();
    let lines = page.filter(|line| match line.strip_prefix("```") {
        Some(opened) => {
            inside = opened == kind;
            false
        }
        None => inside && !line.is_empty(),
    });
    lines.collect()
}

#[test]
fn every_example_of_the_reference_is_understood() {
    let queries = examples("query");
    assert!(queries.len() > 40, "{}", queries.len());
    for query in queries {
        let read = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        // What is printed reads as the same query.
        assert_eq!(parse(&read.to_string()).as_ref(), Ok(&read), "{query}: {read}");
    }
    let wrong = examples("wrong");
    assert!(!wrong.is_empty());
    for query in wrong {
        assert!(parse(query).is_err(), "{query}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_inside_itself(text in "([ -~“\u{a0}é|()\"*:>]|\\PC|stats|by|NOT|OR|TO){0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.start < error.end && error.start <= text.chars().count());
        }
    }
}

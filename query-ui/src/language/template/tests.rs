//! Templates are read and filled as Loki does it.

use super::*;

/// What a row has: labels by name, its line and its time.
const ROW: [(&str, &str); 11] = [
    ("host", "web1"),
    ("msg", " Hello, World "),
    ("took", "12.5"),
    ("code", "503"),
    ("path", "/a b/ü"),
    ("level", "error"),
    ("size", "4KB"),
    ("big", "3MB"),
    ("json", r#"{"a":{"b":7,"c":null},"list":["x","y","z"],"n":1500000,"on":true,"none":[]}"#),
    ("day", "2021-11-02"),
    ("with-dash", "dash"),
];
const LINE: &str = "GET /a 503";
const TIME: &str = "2026-01-05T07:08:09.012Z";

/// Steps of loops that are enough here.
const STEPS: u64 = 10_000;

fn filled_within(text: &str, bytes_max: usize) -> Result<String, Unfilled> {
    let template = Template::read(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
    let value = |name: &Name| match name {
        Name::Label(label) => ROW.iter().find(|(name, _)| name == label).map(|(_, value)| *value),
        Name::Line => Some(LINE),
        Name::Time => Some(TIME),
    };
    let values: Vec<Option<&str>> = template.names().iter().map(value).collect();
    template.fill(&values, bytes_max, &mut { STEPS })
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(filled_within(text, 1 << 20).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn labels_and_texts_stand_as_they_are() {
    check(&[
        ("", ""),
        ("a {b} c", "a {b} c"),
        ("{{.host}}: {{ __line__ }}", "web1: GET /a 503"),
        ("<{{.none}}>", "<>"),
        ("a {{- \" x\" -}}  b", "a xb"),
        ("{{/* nothing */}}x{{`a\"b\\n`}}", "xa\"b\\n"),
        (r#"{{"a\tb\"c"}}"#, "a\tb\"c"),
        ("{{5}} {{-1.50}} {{true}}", "5 -1.5 true"),
    ]);
    let plain = Template::read("{{.a}}-{{__line__}}").unwrap().plain().unwrap();
    let label = Plain::Name(Name::Label("a".to_owned()));
    assert_eq!(plain, [label, Plain::Text("-".to_owned()), Plain::Name(Name::Line)]);
    assert_eq!(Template::read("{{.a | ToUpper}}").unwrap().plain(), None);
    let names = Template::read("{{.a}}{{.b}}{{if .a}}{{__timestamp__}}{{end}}").unwrap();
    let label = |name: &str| Name::Label(name.to_owned());
    assert_eq!(names.names(), [label("a"), label("b"), Name::Time]);
}

#[test]
fn texts_become_others() {
    check(&[
        ("{{.host | ToUpper}}", "WEB1"),
        ("{{ToLower .msg}}", " hello, world "),
        ("{{.msg | TrimSpace | lower | title}}", "Hello, World"),
        (r#"{{Replace .msg "o" "0" 1}}"#, " Hell0, World "),
        (r#"{{Replace .msg "o" "0" -1}}"#, " Hell0, W0rld "),
        (r#"{{.msg | replace "l" "L"}}"#, " HeLLo, WorLd "),
        (r#"{{Trim .path "/ü"}}"#, "a b"),
        (r#"{{TrimLeft .path "/"}}|{{TrimRight .path "ü"}}"#, "a b/ü|/a b/"),
        (r#"{{TrimPrefix .path "/a"}}|{{TrimSuffix .path "x"}}"#, " b/ü|/a b/ü"),
        (
            r#"{{.path | trimAll "/"}}|{{.path | trimPrefix "/"}}|{{.host | trimSuffix "1"}}"#,
            "a b/ü|a b/ü|web",
        ),
        ("{{trunc 3 .path}}|{{trunc -2 .path}}|{{trunc 0 .path}}", "/a |/ü|"),
        (
            "{{substr 1 3 .host}}|{{substr -1 2 .host}}|{{substr 2 -1 .host}}|{{substr 3 1 .host}}",
            "eb|we|b1|",
        ),
        (
            "{{alignLeft 6 .host}}|{{alignRight 6 .host}}|{{alignRight 2 .host}}|{{alignLeft 2 .host}}",
            "web1  |  web1|b1|we",
        ),
        ("{{indent 2 \"a\\nb\"}}{{nindent 1 .host}}", "  a\n  b\n web1"),
        (r#"{{repeat 3 "ab"}}{{repeat -1 "ab"}}"#, "ababab"),
        (
            "{{urlencode .path}} {{urldecode \"%2Fa+b%C3%BC\"}} {{urldecode \"%zz\"}}",
            "%2Fa+b%2F%C3%BC /a bü %zz",
        ),
        ("{{b64enc .host}} {{b64dec \"d2ViMQ==\"}}", "d2ViMQ== web1"),
        (r#"{{regexReplaceAll "([0-9])([0-9]+)" __line__ "${2}-$1"}}"#, "GET /a 03-5"),
        (r#"{{regexReplaceAllLiteral "[0-9]+" __line__ "$0"}}"#, "GET /a $0"),
        (r#"{{count "[a-z]" __line__}}"#, "1"),
        (r#"{{default "none" .nothing}} {{.host | default "none"}}"#, "none web1"),
        (r#"{{print .host ":" 5 6}}"#, "web1:5 6"),
    ]);
}

#[test]
fn printf_writes_values_in_their_forms() {
    check(&[
        (r#"{{printf "%s=%d" .host 5}}"#, "web1=5"),
        (r#"{{printf "[%-6s|%6s|%.2s]" .host .host .host}}"#, "[web1  |  web1|we]"),
        (r#"{{printf "%05d %+d %x %X" 42 7 255 255}}"#, "00042 +7 ff FF"),
        (r#"{{printf "%.1f %8.3f %e" 2.26 -1.5 1500000.0}}"#, "2.3   -1.500 1.500000e+06"),
        (r#"{{printf "%d%%" .code}}"#, "503%"),
        (r#"{{.host | printf "%q"}}"#, "\"web1\""),
        (
            r#"{{printf "%d" .host}} {{printf "%s"}} {{printf "%y" 1}}"#,
            "%!d(string=web1) %!s(MISSING) %!y(int=1)",
        ),
    ]);
    // A width is no way to make texts without end.
    let wide = filled_within(r#"{{printf "%999999999s" .host}}"#, 1 << 20).unwrap();
    assert_eq!(wide.len(), 1_000);
}

#[test]
fn numbers_are_computed_and_values_tested() {
    check(&[
        (
            "{{add 1 2 .code}} {{sub 5 .took}} {{mul 2 3}} {{div 7 2}} {{mod 7 4}} {{div 1 0}}",
            "506 -7 6 3 3 0",
        ),
        ("{{addf 1.5 .took}} {{divf 1 4}} {{mulf 2 1.5}} {{subf 1 0.5}}", "14 0.25 3 0.5"),
        ("{{max 1 9 3}} {{min 4 2}} {{maxf 1 2.5}} {{minf 1 2.5}}", "9 2 2.5 1"),
        (
            "{{ceil .took}} {{floor .took}} {{round 1.256 2}} {{int .took}} {{float64 .code}}",
            "13 12 1.26 12 503",
        ),
        ("{{bytes .size}} {{duration \"1.5s\"}} {{len .path}}", "4000 1.5 7"),
        // As Go shows floats.
        (
            "{{bytes .big}} {{mulf 1000 999.9}} {{mulf 1 12345678}} {{divf 1 100000}}",
            "3e+06 999900 1.2345678e+07 1e-05",
        ),
        (r#"{{if eq .level "error"}}E{{else}}-{{end}}"#, "E"),
        (r#"{{if eq .level "a" "error"}}E{{end}}{{if ne .level "a"}}N{{end}}"#, "EN"),
        (r#"{{if gt .code 500}}5{{else if gt .code 400}}4{{else}}2{{end}}"#, "5"),
        (r#"{{if lt .code 500}}2{{else if ge .code 503}}3{{else}}4{{end}}"#, "3"),
        (r#"{{if and .host (not .nothing)}}y{{end}}{{if or .nothing ""}}n{{end}}"#, "y"),
        (
            r#"{{if contains "eb" .host}}1{{end}}{{if hasPrefix "w" .host}}2{{end}}{{if hasSuffix "x" .host}}3{{end}}"#,
            "12",
        ),
        (r#"{{if .nothing}}{{.nothing}}{{else}}{{if .code}}{{.code}}{{end}}{{end}}"#, "503"),
        ("{{ (.host | ToUpper) | printf \"%s!\" }}", "WEB1!"),
    ]);
}

#[test]
fn times_are_written_as_layouts_say() {
    check(&[
        (r#"{{date "2006-01-02T15:04:05.000Z07:00" __timestamp__}}"#, "2026-01-05T07:08:09.012Z"),
        (r#"{{__timestamp__ | date "Mon, 02 Jan 06 3:04PM MST"}}"#, "Mon, 05 Jan 26 7:08AM UTC"),
        (
            r#"{{__timestamp__ | date "Monday January _2 002 5.999 -0700"}}"#,
            "Monday January  5 005 9.012 +0000",
        ),
        (
            "{{unixEpoch __timestamp__}} {{unixEpochMillis __timestamp__}}",
            "1767596889 1767596889012",
        ),
        (r#"{{unixToTime "1767596889" | date "15:04"}}"#, "07:08"),
        (r#"{{unixToTime 1767596889012 | date "05.000"}}"#, "09.012"),
        (r#"{{unixToTime "19727" | date "2006-01-02"}}"#, "2024-01-05"),
        ("{{__timestamp__}}", "2026-01-05 07:08:09.012 +0000 UTC"),
        (r#"{{date "2006" .host}}"#, ""),
    ]);
}

#[test]
fn what_is_wrong_is_told_in_its_place() {
    for (text, at, word) in [
        ("{{.a", 4, "not closed"),
        ("x {{ .a | sha256sum }}", 10, "sha256sum is not supported"),
        ("{{define \"a\"}}x{{end}}", 2, "define is not supported"),
        ("{{template \"a\"}}", 2, "template is not supported"),
        ("{{block \"a\" .}}x{{end}}", 12, "label"),
        ("{{now}}", 2, "now is not supported"),
        ("{{$x}}", 2, "no variable $x"),
        ("{{$x = 1}}", 2, "no variable $x"),
        ("{{if $x := .a}}{{end}}{{$x}}", 24, "no variable $x"),
        ("{{if .a}}{{$x := 1}}{{else}}{{$x}}{{end}}", 30, "no variable $x"),
        ("{{$ := 1}}", 2, "behind $"),
        ("{{$}}", 2, "behind $"),
        ("{{$x, $y := 1}}", 2, "no variable $x"),
        ("{{range .a}}x", 13, "no {{end}}"),
        ("{{range .a}}x{{else if .b}}y{{end}}", 22, "{{else}} alone"),
        ("{{break}}", 2, "inside {{range}}"),
        ("{{with .a}}{{(.).}}{{end}}", 16, "expected a name"),
        ("{{index . .a}}", 10, "in quotes"),
        ("{{.a .b}}", 5, "expected | or }}"),
        ("{{.}}", 2, "label"),
        ("{{ToUpper}}", 2, "wants 1 values"),
        ("{{Replace .a \"b\"}}", 2, "wants 4 values"),
        ("{{.a | .b}}", 7, "expected a function"),
        ("{{if .a}}x", 10, "no {{end}}"),
        ("x{{end}}", 8, "without {{if}}"),
        ("{{if .a}}x{{else}}y{{else}}z{{end}}", 27, "expected {{end}}"),
        ("{{\"abc}}", 2, "not closed"),
        ("{{(.a}}", 5, "expected )"),
        ("{{regexReplaceAll .a .b \"\"}}", 2, "in quotes"),
        ("{{count \"(\" .b}}", 2, "regular expression"),
        ("{{1x}}", 2, "no number"),
        ("{{ & }}", 3, "a template takes"),
    ] {
        let wrong = Template::read(text).unwrap_err();
        assert!(wrong.at == at && wrong.why.contains(word), "{text}: {wrong:?}");
    }
    let deep =
        |open: &str, close: &str| format!("{{{{{}.a{}}}}}", open.repeat(100), close.repeat(100));
    for text in [
        deep("(", ")"),
        deep("ToUpper (", ")"),
        format!("{{{{.a{}}}}}", "|ToUpper".repeat(100)),
        "{{if .a}}".repeat(100) + &"{{end}}".repeat(100),
        r#"{{count "a" .a}}"#.repeat(100),
    ] {
        assert!(Template::read(&text).is_err(), "{text}");
    }
}

#[test]
fn texts_that_are_made_have_bounds() {
    for text in [
        r#"{{repeat 1000000000 "ab"}}"#,
        "{{alignLeft 1000000000 .host}}",
        "{{indent 1000000000 .host}}",
        r#"{{repeat 1000000 "ab" | replace "a" "cccccccccc"}}"#,
        r#"{{regexReplaceAll "b" (repeat 1000 "ab") (repeat 10000 "x")}}"#,
    ] {
        assert_eq!(filled_within(text, 64 << 20), Err(Unfilled::TooLong), "{text}");
    }
    assert_eq!(filled_within("{{.host}}", 3), Err(Unfilled::TooLong));
}

#[test]
fn variables_hold_values() {
    check(&[
        ("{{$x := .host}}{{$x}}-{{$x | ToUpper}}", "web1-WEB1"),
        ("{{ $x := 1 -}}  {{ $x = add $x 1 }}{{ $x }}", "2"),
        // What a block declares is its own; what it sets stays.
        ("{{$x := 1}}{{if .host}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$x := 1}}{{if .host}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{if $x := .host}}{{$x}}{{end}}", "web1"),
        ("{{if $x := .nothing}}a{{else}}[{{$x}}]{{end}}", "[]"),
        ("{{$x := 1}}{{$x := add $x 1}}{{$x}}", "2"),
        ("{{$.host}} {{index . \"with-dash\"}} {{index $ \"host\" }}", "web1 dash web1"),
        (r#"{{$x := fromJson .json}}{{$x.a.b}}"#, "7"),
    ]);
    let many =
        |count: usize| -> String { (0..count).map(|at| format!("{{{{$v{at} := 1}}}}")).collect() };
    assert!(Template::read(&many(32)).is_ok() && Template::read(&many(33)).is_err());
}

#[test]
fn with_is_about_a_value() {
    check(&[
        ("{{with .host}}<{{.}}>{{end}}", "<web1>"),
        ("{{with .nothing}}<{{.}}>{{else}}none{{.host}}{{end}}", "noneweb1"),
        ("{{with .nothing}}1{{else with .code}}{{.}}{{else}}3{{end}}", "503"),
        ("{{with $x := .host}}{{$x}}{{.}}{{$.code}}{{__line__ | len}}{{end}}", "web1web150310"),
        (
            "{{with fromJson .json}}{{.a.b}} {{.on}} {{index .list 1}}{{with .a}}{{.b}}{{end}}{{end}}",
            "7 true y7",
        ),
        ("{{with .host}}{{. | ToUpper}}{{len .}}{{end}}", "WEB14"),
    ]);
}

#[test]
fn range_goes_through_lists_and_maps() {
    check(&[
        ("{{range (fromJson .json).list}}{{.}},{{end}}", "x,y,z,"),
        (
            "{{range $i, $e := (fromJson .json).list}}{{if $i}}, {{end}}{{$i}}={{$e}}{{end}}",
            "0=x, 1=y, 2=z",
        ),
        ("{{range $e := (fromJson .json).list}}{{$e}}{{$.host}}{{end}}", "xweb1yweb1zweb1"),
        ("{{range $k, $v := fromJson .json}}{{$k}} {{end}}", "a list n none on "),
        ("{{range (fromJson .json).none}}x{{else}}empty{{end}}", "empty"),
        ("{{range (fromJson .json).missing}}x{{else}}none{{.host}}{{end}}", "noneweb1"),
        (
            "{{range $i, $e := (fromJson .json).list}}{{if eq $i 1}}{{continue}}{{end}}{{$e}}{{end}}",
            "xz",
        ),
        (
            "{{range (fromJson .json).list}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{else}}-{{end}}",
            "x",
        ),
        ("{{$n := 0}}{{range (fromJson .json).list}}{{$n = add $n 1}}{{end}}{{$n}}", "3"),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}", "01201"),
        (
            "{{range fromJson `[[1,2],[3]]`}}{{range .}}{{if eq . 2.0}}{{break}}{{end}}{{.}}{{end}};{{end}}",
            "1;3;",
        ),
    ]);
    for text in [
        "{{range .host}}x{{end}}",
        "{{range (fromJson .json).n}}x{{end}}",
        "{{index (fromJson .json).list 3}}",
        "{{index (fromJson .json).list -1}}",
        "{{(fromJson .json).n.x}}",
        "{{with .host}}{{.x}}{{end}}",
        "{{index .host 0}}",
    ] {
        assert_eq!(filled_within(text, 1 << 20), Err(Unfilled::Unfit), "{text}");
    }
}

#[test]
fn json_gives_values() {
    check(&[
        ("{{(fromJson .json).a}} {{(fromJson .json).list}}", "map[b:7 c:<nil>] [x y z]"),
        (
            "{{(fromJson .json).n}} {{(fromJson .json).missing}}|{{(fromJson .host).a.b}}",
            "1.5e+06 <no value>|<no value>",
        ),
        ("{{fromJson `\"a\"`}} {{fromJson `2`}}", "a 2"),
        (
            "{{len (fromJson .json).list}} {{len (fromJson .json)}} {{index (fromJson .json) \"a\" \"b\"}}",
            "3 5 7",
        ),
        ("{{if (fromJson .json).none}}1{{else}}0{{end}}{{if (fromJson .json).list}}1{{end}}", "01"),
        ("{{default \"d\" (fromJson .json).missing}}", "d"),
        (
            "{{printf \"%v %d %s\" (fromJson .json).list (fromJson .json).a.b (fromJson .json).missing}}",
            "[x y z] 7 %!s(<nil>)",
        ),
        // What decides is enough: nothing behind it is computed.
        (
            "{{if and .nothing (index .host 0)}}1{{else}}0{{end}}{{if or .host (index .host 0)}}1{{end}}",
            "01",
        ),
        ("{{if gt (fromJson .json).a.b 6}}more{{end}}", "more"),
    ]);
}

#[test]
fn texts_become_times() {
    check(&[
        (r#"{{.day | toDate "2006-01-02" | unixEpoch}}"#, "1635811200"),
        (
            r#"{{.day | toDateInZone "2006-01-02" "America/New_York" | unixEpochMillis}}"#,
            "1635825600000",
        ),
        (r#"{{toDate "2006-01-02" .day | date "Jan 2"}}"#, "Nov 2"),
        (r#"{{toDate "2006-01-02" .host}}"#, "0001-01-01 00:00:00 +0000 UTC"),
        (r#"{{toDate "2006-01-02" .host | unixEpoch}}"#, "-62135596800"),
    ]);
}

#[test]
fn loops_end() {
    for text in [
        "{{range 100000}}{{end}}",
        "{{range 1000}}{{range 1000}}{{end}}{{end}}",
        "{{$x := repeat 1000000 \"x\"}}{{range 100}}{{len $x}}{{end}}",
        "{{$x := fromJson (printf \"[%s1]\" (repeat 2000 \"1,\"))}}{{range 100}}{{contains \"x\" $x}}{{end}}",
    ] {
        assert_eq!(filled_within(text, 1 << 20), Err(Unfilled::TooManySteps), "{text}");
    }
    let doubled = "{{$x := \"x\"}}{{range 100}}{{$x = print $x $x}}{{end}}";
    assert!(filled_within(doubled, 1 << 20).is_err());
    let long = "{{fromJson (repeat 100000 \"[,\")}}";
    assert_eq!(filled_within(long, 1 << 20), Err(Unfilled::TooLong));
    assert_eq!(filled_within("{{range 100}}{{$.json}}{{end}}", 1_000), Err(Unfilled::TooLong));
    // Without a loop nothing is counted.
    let many = "{{.host | ToUpper}}".repeat(2_000);
    assert_eq!(filled_within(&many, 1 << 20).map(|text| text.len()), Ok(8_000));
}

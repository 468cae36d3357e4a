//! Lines of real programs, and what is read in them.

use super::*;

/// Fields as `name=value`.
#[track_caller]
fn check(format: &Format, line: &str, level: Option<Level>, expected: &str) {
    let said = format.read(line).unwrap_or_else(|| panic!("not read: {line}"));
    let fields: Vec<String> =
        said.fields.iter().map(|(name, value)| format!("{name}={}", value.to_text())).collect();
    assert_eq!(fields.join(" "), expected, "{line}");
    assert_eq!(said.level, level, "{line}");
}

#[track_caller]
fn refused(format: &Format, line: &str) {
    assert_eq!(format.read(line), None);
}

#[test]
fn logfmt_is_pairs() {
    check(
        &Format::Logfmt,
        r#"level=warn msg="a \"b\" c" took=1.5 n=7 id=007 debug ok=true empty= q="""#,
        Some(Level::Warn),
        r#"level=warn msg=a "b" c took=1.5 n=7 id=007 debug=true ok=true empty= q="#,
    );
    let quoted = r#"msg="no ERROR at all" level="info""#;
    check(&Format::Logfmt, quoted, Some(Level::Info), "msg=no ERROR at all level=info");
    refused(&Format::Logfmt, "just some text");
    refused(&Format::Logfmt, "a=\"open");
    refused(&Format::Logfmt, "");
}

#[test]
fn syslog_old_and_new() {
    check(
        &Format::Syslog,
        r#"<165>1 2026-11-23T15:24:00.003Z web1 app 42 ID47 [ex@1 a="1" b="x \"y\""][two c="3"] text"#,
        Some(Level::Info),
        r#"facility=local4 hostname=web1 app=app pid=42 msgid=ID47 ex@1.a=1 ex@1.b=x "y" two.c=3"#,
    );
    check(
        &Format::Syslog,
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
        Some(Level::Fatal),
        "facility=auth hostname=mymachine app=su",
    );
    check(
        &Format::Syslog,
        "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure",
        None,
        "hostname=combo app=sshd pid=19939",
    );
    check(&Format::Syslog, "<13>odd text", Some(Level::Info), "facility=user");
    refused(&Format::Syslog, "odd text");
    refused(&Format::Syslog, "<999>x");
}

#[test]
fn servers_write_access_and_errors() {
    check(
        &Format::Access,
        r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 503 - "http://x/" "Mozilla \"5\"""#,
        Some(Level::Error),
        r#"client=83.149.9.216 method=GET path=/a?b=1 protocol=HTTP/1.1 status=503 referrer=http://x/ agent=Mozilla \"5\""#,
    );
    check(
        &Format::Access,
        r#"::1 - bob [17/May/2015:10:05:03 +0000] "-" 408 0"#,
        Some(Level::Warn),
        "client=::1 user=bob status=408 bytes=0",
    );
    check(
        &Format::ServerError,
        r#"2026/11/23 15:24:00 [error] 12#34: *5 open() "/x" failed (2: No such file), client: 1.2.3.4, server: _, request: "GET /x HTTP/1.1", host: "h""#,
        Some(Level::Error),
        "pid=12 thread=34 connection=5 client=1.2.3.4 server=_ request=GET /x HTTP/1.1 host=h",
    );
    check(
        &Format::ServerError,
        "[Sun Dec 04 04:47:44.1 2005] [proxy:warn] [pid 12:tid 34] [client 1.2.3.4:56] text",
        Some(Level::Warn),
        "module=proxy pid=12 client=1.2.3.4:56",
    );
    refused(&Format::Access, "GET / HTTP/1.1");
    refused(&Format::ServerError, "[a] [b] c");
}

#[test]
fn klog_and_patterns_of_ones_own() {
    check(
        &Format::Klog,
        "E0523 12:34:56.789012    1234 server.go:56] text",
        Some(Level::Error),
        "thread=1234 file=server.go line=56",
    );
    let dissect =
        Format::Pattern(Pattern::dissect("%{client} [%{time}] %{} %{status:int}").unwrap());
    check(&dissect, "1.2.3.4 [2026-11-23] GET 200", None, "client=1.2.3.4 status=200");
    refused(&dissect, "nothing of it");
    let regex = Pattern::regex(r"^(?<user>\w+) took (?<ms__int>\d+)ms: (?<message>.*)$").unwrap();
    let said = regex.read("bob took 12ms: done").unwrap();
    assert_eq!(said.message.as_deref(), Some("done"));
    check(&Format::Pattern(regex), "bob took 12ms: done", None, "user=bob ms=12");
    // Only a kind of number is none of the name.
    let regex = Pattern::regex(r"^(?<http__status__int>\d+) (?<user__name>\w+)$").unwrap();
    check(&Format::Pattern(regex), "200 bob", None, "http__status=200 user__name=bob");
    let dissect = Pattern::dissect("%{http:status:int} %{path}").unwrap();
    check(&Format::Pattern(dissect), "200 /x", None, "http:status=200 path=/x");
    assert!(Pattern::dissect("%{a}%{b}").is_err() && Pattern::dissect("text").is_err());
    assert!(Pattern::regex("(").is_err());
}

#[test]
fn detection_depends_on_the_line_alone() {
    let detect = &Format::Detect;
    check(detect, "a=1 b=2", None, "a=1 b=2");
    check(detect, "Jun 14 15:16:01 h app[1]: a=1", None, "hostname=h app=app pid=1");
    refused(detect, "plain text, nothing else");
    refused(detect, "x=1");
    check(detect, r#"time=12 msg="a b" x.y=2"#, None, "time=12 msg=a b x.y=2");
    refused(detect, "connection from user=bob to host=a failed");
    refused(detect, "a=1 b=2 done");
    refused(detect, "2015-10-18=a [x=1");
}

#[test]
fn no_bytes_make_a_parser_panic() {
    let formats = [Format::Detect, Format::Logfmt, Format::Syslog, Format::Access];
    let seeds = [
        "<1>1 - - - - - [",
        "[[[[",
        "a=\"\\",
        "\"\"\"",
        "I0101 0 0 :]",
        "1 - - [] \"\\\" 200 1",
        "2026/11/23 00:00:00 [error] 1#1: *",
        "ü=ü \u{feff}=\"\\u",
        "<191>",
        "= = =",
    ];
    for seed in seeds {
        for cut in 0..=seed.len() {
            if let Some(text) = seed.get(..cut) {
                formats.iter().for_each(|format| drop(format.read(text)));
            }
        }
    }
}

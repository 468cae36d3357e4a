//! Ranges whose ends stand the wrong way round: nothing lies in them.

use std::cmp::Ordering;

use model::level::Level;
use model::partition::RecordId;
use model::query::{Bound, FieldTest, Literal};
use model::time::Timestamp;

use super::QueryError;
use super::lex::Cursor;
use super::range::Place;

/// What stands between two places.
pub(super) fn written<'a>(before: &Cursor<'a>, behind: &Cursor<'_>) -> &'a str {
    before.rest.get(..behind.at() - before.at()).unwrap_or_default()
}

/// A range, unless nothing can lie in it: its lower end is behind its upper one, or they are one and not
/// inside. `turned` is the range the other way round.
pub(super) fn in_order(
    name: &str,
    place: Place<'_, '_>,
    (from, to): (Bound, Bound),
    turned: &str,
) -> Result<FieldTest, QueryError> {
    let order = match (&from, &to) {
        (Bound::Inclusive(a), Bound::Inclusive(b)) => order_of(name, a, b),
        // At one place, what is not inside leaves nothing.
        (Bound::Exclusive(a), Bound::Exclusive(b) | Bound::Inclusive(b))
        | (Bound::Inclusive(a), Bound::Exclusive(b)) => {
            order_of(name, a, b).map(|order| order.then(Ordering::Greater))
        }
        (Bound::Open, _) | (_, Bound::Open) => None,
    };
    if order != Some(Ordering::Greater) {
        return Ok(FieldTest::Between { from, to });
    }
    let (start, end) = (place.0.at(), place.1.at());
    let found = written(place.0, place.1);
    let message = format!("nothing lies in {found}: the lower end stands first");
    let mut error = place.0.error_from(start, end, message, &[turned]);
    error.hint = Some(format!("did you mean {name}:{turned}?"));
    Err(error)
}

/// How two ends of a range lie in the order in which values of that name are compared; `None` where that
/// depends on the values.
fn order_of(name: &str, a: &Literal, b: &Literal) -> Option<Ordering> {
    match (a, b) {
        (Literal::Duration(a), Literal::Duration(b)) | (Literal::Size(a), Literal::Size(b)) => {
            a.partial_cmp(b)
        }
        (Literal::Text(a), Literal::Text(b)) => Some(match name {
            "level" => Level::from_word(a)?.cmp(&Level::from_word(b)?),
            "id" => RecordId::parse(a)?.cmp(&RecordId::parse(b)?),
            "timestamp" | "ingest_time" => Timestamp::parse(a)?.cmp(&Timestamp::parse(b)?),
            _ => a.cmp(b),
        }),
        (Literal::Time { period: a, text }, Literal::Time { period: b, text: other }) => {
            // What is no time is compared as text.
            let (times, texts) = (a.first.cmp(&b.last), text.cmp(other));
            (times == texts).then_some(times)
        }
        (a, b) => a.as_number()?.order(b.as_number()?),
    }
}

#[cfg(test)]
mod tests {
    use crate::language::parse;
    use crate::language::tests::{check, wrong};

    #[test]
    fn a_range_in_which_nothing_lies_is_refused_where_it_stands() {
        for (given, place, turned) in [
            ("status:[5 TO 1]", (7, 15), "[1 TO 5]"),
            ("x status:5..1 y", (9, 13), "1..5"),
            ("status:{5 TO 5]", (7, 15), "[5 TO 5]"),
            ("status:[-1 TO -2}", (7, 17), "[-2 TO -1]"),
            ("took:5m..1s", (5, 11), "1s..5m"),
            ("size:[1MB TO 1KB]", (5, 17), "[1KB TO 1MB]"),
            ("level:error..info", (6, 17), "info..error"),
            ("level:[fatal TO warn]", (6, 21), "[warn TO fatal]"),
            ("timestamp:2026-02..2026-01", (10, 26), "2026-01..2026-02"),
            ("expires:[2026-02-01 TO 2026-01-31]", (8, 34), "[2026-01-31 TO 2026-02-01]"),
            ("id:2-0..1-ff", (3, 12), "1-ff..2-0"),
            ("user:[m TO \"a b\"]", (5, 17), "[\"a b\" TO m]"),
            ("status:(200 OR 9..7)", (15, 19), "7..9"),
        ] {
            wrong(given, place, "nothing lies in");
            assert_eq!(parse(given).unwrap_err().expected, [turned], "{given}");
        }
        check("status:[5 TO 5]", "status[5..]5");
        check("status:1..5", "status[1..]5");
        check("id:1-ff..2-0", "id['1-ff'..]'2-0'");
        check("level:[warn TO warn]", "level['warn'..]'warn'");
        for whole in
            ["timestamp:2026-01..2026-01", "user:[a TO 5]", "status:[9 TO 10]", "took:{0 TO 1s}"]
        {
            parse(whole).unwrap();
        }
    }
}

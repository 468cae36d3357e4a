//! What a test says of many values of which only the ends are known.

use model::number::Number;
use model::query::FieldTest;
use model::text::{fold, fold_text};
use model::time::Period;

use super::test::Limit;

/// What is known of some values; there is one at least.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent<'a> {
    /// Numbers from `least` to `greatest`.
    Numbers {
        least: Number,
        greatest: Number,
        /// All are numbers that have an order; what is none lies in no range.
        is_ordered: bool,
    },
    /// Texts: none is before `least` or behind `greatest`, by bytes.
    Texts { least: &'a str, greatest: &'a str },
    /// Texts that are times, all written alike, from one to another.
    Times { least: &'a str, greatest: &'a str },
    /// Nothing.
    Unknown,
}

/// Which of some values pass a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    None,
    Some,
    All,
}

/// A test that is asked of extents.
#[derive(Debug)]
pub(crate) struct ExtentTest(Asked);

#[derive(Debug)]
enum Asked {
    /// Whether there is a value: every value passes.
    Exists,
    /// What ends do not tell.
    Otherwise,
    /// Values between these pass.
    Between(Box<(Limit, Limit)>),
}

impl ExtentTest {
    /// A test of the values of that name.
    pub(crate) fn new(name: &str, test: &FieldTest) -> Self {
        Self(match test {
            FieldTest::Exists | FieldTest::ExistsBelow => Asked::Exists,
            FieldTest::Matches(_) => Asked::Otherwise,
            FieldTest::Between { from, to } => {
                Asked::Between(Box::new((Limit::new(name, from), Limit::new(name, to))))
            }
        })
    }

    /// Which of such values pass; [`Passing::Some`] where that is not known.
    pub(crate) fn of(&self, extent: Extent<'_>) -> Passing {
        let (from, to) = match &self.0 {
            Asked::Exists => return Passing::All,
            Asked::Otherwise => return Passing::Some,
            Asked::Between(limits) => (&limits.0, &limits.1),
        };
        match extent {
            // Both sides of a range are the easier to pass the farther a number is on that side.
            Extent::Numbers { least, greatest, is_ordered } => {
                let passes = |above: Number, below: Number| {
                    from.below(Some(above), None) && to.above(Some(below), None)
                };
                match (passes(greatest, least), passes(least, greatest)) {
                    (false, _) => Passing::None,
                    (true, true) if is_ordered => Passing::All,
                    _ => Passing::Some,
                }
            }
            Extent::Texts { least, greatest } => {
                let texts = Texts::new(least, greatest);
                match texts.may_be_above(from) && texts.may_be_below(to) {
                    true => Passing::Some,
                    false => Passing::None,
                }
            }
            // They are in order both as texts and as moments, where they can be told as such.
            Extent::Times { least, greatest } => {
                let passes = |above: &str, below: &str| {
                    from.below(None, Some(above)) && to.above(None, Some(below))
                };
                match (passes(greatest, least), passes(least, greatest)) {
                    _ if [least, greatest].iter().any(|end| Period::read(end).is_none()) => {
                        Passing::Some
                    }
                    (false, _) => Passing::None,
                    (true, true) => Passing::All,
                    (true, false) => Passing::Some,
                }
            }
            Extent::Unknown => Passing::Some,
        }
    }
}

/// Texts as they compare: folded.
struct Texts {
    /// Whether one of them may read as a number, a span of time, or a size.
    may_be_numbers: bool,
    /// None is before it.
    least: String,
    /// All are before it.
    behind: Option<String>,
}

impl Texts {
    fn new(least: &str, greatest: &str) -> Self {
        // All begin with what these begin with, and go on with a character between theirs.
        let same = least.chars().zip(greatest.chars()).take_while(|(a, b)| a == b);
        let shared: String = same.map(|(a, _)| a).collect();
        let next = |text: &str| text.get(shared.len()..).and_then(|rest| rest.chars().next());
        let (first, last) = (next(least), next(greatest));
        let start = fold_text(&shared).into_owned();
        let (low, high) = match last {
            None => (None, Some('\0')),
            // Beyond ASCII, folding does not keep the order.
            Some(last) if last.is_ascii() => {
                let folded = (first.unwrap_or('\0')..=last).map(fold);
                let high = folded.clone().max().and_then(following);
                (first.and_then(|_| folded.min()), high)
            }
            Some(_) => (None, None),
        };
        let behind = match high {
            Some(high) => Some(start.chars().chain([high]).collect()),
            None => behind_all(&start),
        };
        // What reads as a number begins with a digit, a sign or a point, perhaps behind white space.
        let may_be_numbers = least < ":" || !greatest.starts_with(|c: char| c.is_ascii());
        Self { may_be_numbers, least: start.chars().chain(low).collect(), behind }
    }

    /// Whether one of them may pass a lower bound.
    fn may_be_above(&self, limit: &Limit) -> bool {
        match text_of(limit) {
            Compared::Text(text, _) => self.behind.as_deref().is_none_or(|behind| behind > text),
            other => self.may_be(&other),
        }
    }

    /// Whether one of them may pass an upper bound.
    fn may_be_below(&self, limit: &Limit) -> bool {
        match text_of(limit) {
            Compared::Text(text, true) => self.least.as_str() <= text,
            Compared::Text(text, false) => self.least.as_str() < text,
            other => self.may_be(&other),
        }
    }

    fn may_be(&self, compared: &Compared<'_>) -> bool {
        !matches!(compared, Compared::Number) || self.may_be_numbers
    }
}

/// How texts compare with a limit.
enum Compared<'a> {
    /// By this text, which passes itself or not.
    Text(&'a str, bool),
    /// As numbers and what is made of numbers.
    Number,
    /// In another way, or not at all.
    Otherwise,
}

fn text_of(limit: &Limit) -> Compared<'_> {
    let Limit::At { inclusive, number, text, period, quantity, .. } = limit else {
        return Compared::Otherwise;
    };
    match (number, text, period, quantity) {
        (Some(_), ..) | (None, None, _, Some(_)) => Compared::Number,
        (None, Some(text), None, _) => Compared::Text(text, *inclusive),
        _ => Compared::Otherwise,
    }
}

/// The character behind another.
fn following(c: char) -> Option<char> {
    char::from_u32(u32::from(c).checked_add(1)?)
}

/// A text behind all that begin so.
fn behind_all(start: &str) -> Option<String> {
    let mut chars: Vec<char> = start.chars().collect();
    let last = following(chars.pop()?)?;
    chars.push(last);
    Some(chars.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use model::query::{Bound, Literal};
    use model::record::FieldValue;
    use proptest::prelude::*;

    use super::super::test::Test;
    use super::*;

    /// Whole numbers that floats confuse.
    fn great() -> impl Strategy<Value = i64> {
        let near = |at: i64| (-2_i64..3).prop_map(move |n| at.saturating_add(n));
        prop_oneof![near(1 << 53), near(-(1 << 53)), near(i64::MAX), near(i64::MIN)]
    }

    /// A bound as the language makes one: texts are folded.
    fn bound() -> impl Strategy<Value = Bound> {
        let literal = prop_oneof![
            (-9_i32..9).prop_map(|n| Literal::Number(f64::from(n) / 2.0)),
            great().prop_map(|n| Literal::of_number(Number::Whole(n.into()))),
            great().prop_map(|n| Literal::Number(n as f64)),
            "[abKzAZ4é\u{212a}]{0,3}".prop_map(|t| Literal::Text(fold_text(&t).into_owned())),
            (0_i32..9).prop_map(|n| Literal::Size(f64::from(n))),
            (0_i32..9).prop_map(|n| Literal::Duration(f64::from(n))),
        ];
        prop_oneof![
            Just(Bound::Open),
            literal.clone().prop_map(Bound::Inclusive),
            literal.prop_map(Bound::Exclusive)
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_of_texts_holds_for_each(
            texts in prop::collection::vec("[abKzAZ4 .-é\u{212a}]{0,3}", 1..6),
            from in bound(),
            to in bound(),
        ) {
            let test = FieldTest::Between { from, to };
            let ends = (texts.iter().min().unwrap(), texts.iter().max().unwrap());
            let (least, greatest) = (ends.0.as_str(), ends.1.as_str());
            let said = ExtentTest::new("took", &test).of(Extent::Texts { least, greatest });
            let exact = Test::new("took", &test);
            let any = texts.iter().any(|text| exact.text(text));
            prop_assert!(!any || said != Passing::None, "{:?} {:?}", texts, test);
            prop_assert!(said != Passing::All);
        }

        #[test]
        fn what_is_said_of_numbers_holds_for_each(
            numbers in prop::collection::vec(prop_oneof![-9_i64..9, great()], 1..6),
            from in bound(),
            to in bound(),
        ) {
            let test = FieldTest::Between { from, to };
            let ends = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
            let [least, greatest] = [ends.0, ends.1].map(|end| Number::Whole((*end).into()));
            let extent = Extent::Numbers { least, greatest, is_ordered: true };
            let said = ExtentTest::new("took_ns", &test).of(extent);
            let exact = Test::new("took_ns", &test);
            let passes = |number: &i64| exact.single(&FieldValue::Int(*number));
            let (any, all) = (numbers.iter().any(passes), numbers.iter().all(passes));
            prop_assert!(!any || said != Passing::None, "{:?} {:?}", numbers, test);
            prop_assert!(all || said != Passing::All, "{:?} {:?}", numbers, test);
        }
    }

    #[test]
    fn neighbours_that_are_one_float_are_told_apart() {
        let at = |n: i128| Bound::Inclusive(Literal::of_number(Number::Whole(n)));
        let between = |from, to| FieldTest::Between { from, to };
        let of = |test: &FieldTest, least: i128, greatest: i128| {
            let [least, greatest] = [least, greatest].map(Number::Whole);
            ExtentTest::new("a", test).of(Extent::Numbers { least, greatest, is_ordered: true })
        };
        let odd = (1 << 53) + 1;
        assert_eq!(of(&between(at(odd), at(odd)), odd - 1, odd - 1), Passing::None);
        assert_eq!(of(&between(at(odd), at(odd)), odd, odd), Passing::All);
        assert_eq!(of(&between(at(odd), Bound::Open), odd - 1, odd), Passing::Some);
        let most = i128::from(i64::MAX);
        assert_eq!(of(&between(at(most + 1), Bound::Open), most, most), Passing::None);
        assert_eq!(of(&between(Bound::Open, at(most + 1)), 0, most), Passing::All);
        assert_eq!(of(&between(at(most), Bound::Open), most - 1, most - 1), Passing::None);
    }

    #[test]
    fn times_are_told_apart_as_moments_and_as_texts() {
        let time = |text: &str| {
            let text = fold_text(text).into_owned();
            match Period::read(&text) {
                Some(period) => Literal::Time { period, text },
                None => Literal::Text(text),
            }
        };
        let of = |from: &str, to: &str, (least, greatest): (&str, &str)| {
            let [from, to] = [from, to].map(|text| match text {
                "*" => Bound::Open,
                text => Bound::Inclusive(time(text)),
            });
            let test = FieldTest::Between { from, to };
            ExtentTest::new("a", &test).of(Extent::Times { least, greatest })
        };
        // In UTC it is two hours earlier.
        let some = ("2026-11-23T15:24:00+02:00", "2026-11-23T16:00:00+02:00");
        for (from, to, expected) in [
            ("2026-11-23T13:24:00Z", "2026-11-23T14:00:00Z", Passing::All),
            ("2026-11-23T13:24:00Z", "2026-11-23T13:59:59Z", Passing::Some),
            ("2026-11-23T14:00:01Z", "*", Passing::None),
            ("*", "2026-11-23T13:00:00Z", Passing::None),
            ("2026-11-23", "2026-11-23", Passing::All),
            ("2026-11-24", "*", Passing::None),
            ("yesterday", "*", Passing::None),
            ("*", "yesterday", Passing::All),
        ] {
            assert_eq!(of(from, to, some), expected, "{from}..{to}");
        }
        let number = Bound::Inclusive(Literal::Number(5.0));
        let test = FieldTest::Between { from: Bound::Open, to: number };
        let (least, greatest) = some;
        assert_eq!(
            ExtentTest::new("a", &test).of(Extent::Times { least, greatest }),
            Passing::None
        );
        // As moments these cannot be told.
        let early = ("0001-01-01T00:00:00Z", "2026-11-23T15:24:00Z");
        assert_eq!(of("2026-11-24", "*", early), Passing::Some);
    }

    #[track_caller]
    fn check(least: &str, greatest: &str, from: &str, to: &str, expected: Passing) {
        let at = |text: &str| match text {
            "*" => Bound::Open,
            text => Bound::Inclusive(Literal::Text(text.to_owned())),
        };
        let test = FieldTest::Between { from: at(from), to: at(to) };
        let said = ExtentTest::new("a", &test).of(Extent::Texts { least, greatest });
        assert_eq!(said, expected, "{least}..{greatest} in {from}..{to}");
    }

    #[test]
    fn texts_are_told_apart_by_what_they_begin_with() {
        check("host-a", "host-c", "host-d", "*", Passing::None);
        check("host-a", "host-c", "*", "host-", Passing::None);
        check("host-a", "host-c", "host-b", "host-b", Passing::Some);
        check("HOST-A", "HOST-C", "host-d", "*", Passing::None);
        check("HOST-A", "HOST-C", "host-c", "*", Passing::Some);
        // Between them is also `host-K`, as the Kelvin sign is folded.
        check("host-\u{2100}", "host-\u{2200}", "host-j", "host-l", Passing::Some);
        check("host-\u{2100}", "host-\u{2200}", "i", "*", Passing::None);
        check("same", "same", "same", "same", Passing::Some);
        check("same", "same", "samf", "*", Passing::None);
        let number = |least, greatest| {
            let to = Bound::Inclusive(Literal::Number(5.0));
            let test = FieldTest::Between { from: Bound::Open, to };
            ExtentTest::new("a", &test).of(Extent::Texts { least, greatest })
        };
        assert_eq!(number("n/a", "none"), Passing::None);
        assert_eq!(number("1", "none"), Passing::Some);
        assert_eq!(number(" 1", "none"), Passing::Some);
        assert_eq!(number("n/a", "\u{3000}1"), Passing::Some);
    }
}

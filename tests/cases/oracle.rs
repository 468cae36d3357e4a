//! The oracle against the definitions in `model::text`: two writings of one page must agree.

use model::text;
use tests::chance::Chance;
use tests::oracle::{fold, phrase, stars};

/// Characters where words begin, end, or stand alone.
const ALPHABET: [char; 14] =
    ['a', 'B', '7', '_', ' ', '.', '-', '/', 'ü', 'İ', 'ß', '误', 'ก', '\u{301}'];

fn draw(chance: &mut Chance, length: u64) -> String {
    (0..chance.below(length)).map(|_| *chance.one_of(&ALPHABET)).collect()
}

#[test]
fn phrases_stand_free_as_the_model_says() {
    let mut chance = Chance::new(1);
    for _ in 0..20_000 {
        let (whole, part) = (draw(&mut chance, 12), draw(&mut chance, 4));
        let (whole, part) =
            (text::fold_text(&whole).into_owned(), text::fold_text(&part).into_owned());
        if part.is_empty() {
            continue;
        }
        let places = whole.char_indices().map(|(at, _)| at);
        let expected = places
            .filter(|at| whole[*at..].starts_with(&part))
            .any(|at| text::stands_free(&whole, at, at + part.len()));
        assert_eq!(phrase(&fold(&whole), &fold(&part)), expected, "{part:?} in {whole:?}");
    }
}

#[test]
fn folding_is_the_models() {
    let all = (0..=0x2_FFFF).filter_map(char::from_u32);
    for c in all {
        assert_eq!(fold(&c.to_string()), [text::fold(c)], "{c:?}");
    }
}

#[test]
fn a_star_stays_within_a_run_and_opens_only_its_own_end() {
    let check = |pattern: &str, given: &str, expected: bool| {
        assert_eq!(stars(&fold(given), &fold(pattern)), expected, "{pattern} in {given}");
    };
    check("term*", "terminating", true);
    check("term*", "determine", false);
    check("*mine", "determine", true);
    check("a*c", "a b c", false);
    check("a*c", "xa.b.c", false);
    check("a*c", "a.b.c", true);
    check("*", "x", true);
}

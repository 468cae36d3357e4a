//! Records that are to go are in no answer, and in no split that is written anew.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_deleted_is_in_no_answer_and_in_no_merge(
        records in prop::collection::vec(record(), 2..60),
        going in filter(),
        filters in prop::collection::vec(filter(), 4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, split, objects) = made(folder.path(), &records);
        let host = |at: usize| if at < records.len() / 2 { "web1" } else { "web2" };
        let passes = |filter: &Filter, at: usize| oracle::passes(filter, &records[at], host(at));
        let splits = thirds(folder.path(), &rows);
        let gone = vec![Some(going.clone()); splits.len()];
        let source = crate::merge::source_of(&splits, &gone).unwrap();
        let built = build(origin("m"), source, &folder.path().join("work"), &objects).unwrap();
        let left = built.map(|meta| Split::open(meta.into(), &objects, &pages()).unwrap());
        if let Some(left) = &left {
            left.check().unwrap();
        }
        for filter in filters {
            let expected: Vec<u64> = (0..records.len())
                .filter(|at| passes(&filter, *at) && !passes(&going, *at))
                .map(|at| at as u64)
                .collect();
            let not_gone = Filter::Not(Box::new(going.clone()));
            let narrowed = Filter::And(vec![filter.clone(), not_gone]);
            let narrowed = request(narrowed, TimeRange::ALL, None);
            let whole = request(filter, TimeRange::ALL, None);
            let anew = left.as_ref().map(|left| ask_split(left, &whole)).unwrap_or_default();
            for mut found in [ask_rows(&rows, &narrowed), ask_split(&split, &narrowed), anew] {
                found.sort_unstable();
                prop_assert_eq!(&found, &expected, "{:?} without {:?}", &whole.filter, &going);
            }
        }
    }
}

//! What panics in a thread of the indexer is an error there: the thread goes on with its other work.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Work broke off where it should not have: our mistake. What it was at is as it was left.
#[derive(Debug, thiserror::Error)]
#[error("it broke off: {0}")]
pub(crate) struct Broken(String);

/// Does some work that changes nothing but what is behind locks, or what its caller looks at again.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Broken(words(&*panic)))
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn what_breaks_off_says_why() {
        assert_eq!(guarded(|| 7).unwrap(), 7);
        let broken = guarded(|| -> u32 { panic!("row {} is not there", 3) });
        assert_eq!(broken.unwrap_err().to_string(), "it broke off: row 3 is not there");
        let plain = guarded(|| -> u32 { panic!("no more") });
        assert!(plain.unwrap_err().to_string().ends_with("no more"));
    }
}

//! query-ui.

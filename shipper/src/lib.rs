//! shipper.

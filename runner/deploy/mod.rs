//! Carries a release's operations out on hosts: one transaction over the whole fleet.

//! Tables for the whole room, distilled from GitHub's rules.

mod conformance;

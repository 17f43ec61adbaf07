//! Integration tests.

#[cfg(test)]
mod support;

#[cfg(test)]
mod containers;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod ssh;

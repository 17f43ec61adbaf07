//! Integration tests.

#[cfg(test)]
mod support;

#[cfg(test)]
mod deploy;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod ssh;

//! Integration tests.

#[cfg(test)]
mod support;

#[cfg(test)]
mod docker;
#[cfg(test)]
mod images;
#[cfg(test)]
mod pipelines;
#[cfg(test)]
mod ssh;

//! Integration tests.

#[cfg(test)]
mod support;

#[cfg(test)]
mod api;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod build_machine;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod chaos_machines;
#[cfg(test)]
mod check;
#[cfg(test)]
mod config;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod deploy_cancel;
#[cfg(test)]
mod deploy_failures;
#[cfg(test)]
mod deploy_workflow;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod eval;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod from_kamal;
#[cfg(test)]
mod github;
#[cfg(test)]
mod github_app;
#[cfg(test)]
mod github_deploy;
#[cfg(test)]
mod github_events;
#[cfg(test)]
mod images;
#[cfg(test)]
mod live_log;
#[cfg(test)]
mod lost_containers;
#[cfg(test)]
mod lost_deploy;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod own_image;
#[cfg(test)]
mod pipelines;
#[cfg(test)]
mod pull_request;
#[cfg(test)]
mod reportify;
#[cfg(test)]
mod run;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod secret;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod service;
#[cfg(test)]
mod smtp;
#[cfg(test)]
mod ssh;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod verbs;

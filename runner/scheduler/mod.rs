//! Takes in runs, decides which job is next and hands it to a worker.

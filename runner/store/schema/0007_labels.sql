-- The machines that share this store, the labels that each serves, and until when it is said to live.
CREATE TABLE machines (
  name TEXT NOT NULL PRIMARY KEY,
  labels TEXT NOT NULL,
  seen_until BIGINT NOT NULL
);

CREATE INDEX jobs_waiting_by_labels ON jobs (repository, labels, created_at, run, job) WHERE status = 'queued' AND is_ready = 1;

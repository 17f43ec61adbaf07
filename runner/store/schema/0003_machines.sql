ALTER TABLE jobs ADD COLUMN began_at BIGINT;
ALTER TABLE jobs ADD COLUMN disconnected_at BIGINT;
ALTER TABLE jobs ADD COLUMN losses BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET began_at = started_at WHERE status = 'in_progress';

DROP INDEX jobs_by_status;
CREATE INDEX jobs_waiting ON jobs (repository, created_at, run, job) WHERE status = 'queued' AND is_ready = 1;
CREATE INDEX jobs_running ON jobs (repository) WHERE status = 'in_progress';
CREATE INDEX runs_by_number ON runs (repository, workflow, number);

CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  machine TEXT NOT NULL,
  until BIGINT NOT NULL
);

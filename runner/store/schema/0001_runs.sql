CREATE TABLE counters (
  name TEXT NOT NULL PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('run', 0);

CREATE TABLE runs (
  id BIGINT NOT NULL PRIMARY KEY,
  repository TEXT NOT NULL,
  number BIGINT NOT NULL,
  workflow TEXT NOT NULL,
  name TEXT NOT NULL,
  event TEXT NOT NULL,
  event_key TEXT NOT NULL,
  git_ref TEXT NOT NULL,
  sha TEXT NOT NULL,
  actor TEXT NOT NULL,
  title TEXT NOT NULL,
  document TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  status TEXT NOT NULL,
  conclusion TEXT,
  deploy TEXT,
  is_timed_out BIGINT NOT NULL,
  positions BIGINT NOT NULL,
  cancelled_at BIGINT,
  concurrency_group TEXT,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  UNIQUE (repository, workflow, event_key)
);
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_group ON runs (repository, concurrency_group);

CREATE TABLE jobs (
  run BIGINT NOT NULL REFERENCES runs (id),
  attempt BIGINT NOT NULL,
  job BIGINT NOT NULL,
  repository TEXT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  needs TEXT NOT NULL,
  labels TEXT NOT NULL,
  is_ready BIGINT NOT NULL,
  status TEXT NOT NULL,
  conclusion TEXT,
  reason TEXT,
  deploy TEXT,
  outputs TEXT,
  is_timed_out BIGINT NOT NULL,
  is_kept BIGINT NOT NULL,
  position BIGINT,
  fence BIGINT NOT NULL,
  machine TEXT,
  lease_until BIGINT,
  cancel_level BIGINT NOT NULL,
  concurrency_group TEXT,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  milliseconds BIGINT,
  PRIMARY KEY (run, attempt, job)
);
CREATE INDEX jobs_by_status ON jobs (status, is_ready);
CREATE INDEX jobs_by_group ON jobs (repository, concurrency_group);

CREATE TABLE refs (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  sha TEXT NOT NULL,
  PRIMARY KEY (repository, name)
);

CREATE TABLE events (
  id BIGINT NOT NULL PRIMARY KEY,
  repository TEXT NOT NULL,
  event_key TEXT NOT NULL,
  event TEXT NOT NULL,
  git_ref TEXT NOT NULL,
  sha TEXT NOT NULL,
  outcome TEXT NOT NULL,
  at BIGINT NOT NULL,
  UNIQUE (repository, event_key)
);
INSERT INTO counters (name, value) VALUES ('event', 0);

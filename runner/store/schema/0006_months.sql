-- Until when the schedules of a repository were looked at.
CREATE TABLE schedules (
  repository TEXT NOT NULL PRIMARY KEY,
  seen_until BIGINT NOT NULL
);

-- The workflows that fail on a branch, and since which run.
CREATE TABLE broken (
  repository TEXT NOT NULL,
  workflow TEXT NOT NULL,
  git_ref TEXT NOT NULL,
  run BIGINT NOT NULL,
  PRIMARY KEY (repository, workflow, git_ref)
);

-- What people are told, by which channel, and whether they were.
CREATE TABLE notices (
  subject TEXT NOT NULL PRIMARY KEY,
  channel TEXT NOT NULL,
  repository TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,
  tries BIGINT NOT NULL,
  error TEXT,
  created_at BIGINT NOT NULL,
  next_at BIGINT NOT NULL
);
CREATE INDEX notices_by_channel ON notices (channel, state, next_at);

CREATE INDEX jobs_by_environment ON jobs (repository, environment);

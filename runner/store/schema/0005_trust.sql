CREATE TABLE secrets (
  name TEXT NOT NULL,
  repository TEXT NOT NULL,
  environment TEXT NOT NULL,
  event TEXT NOT NULL,
  sealed TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (name, repository, environment, event)
);

CREATE TABLE tokens (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  hash TEXT NOT NULL,
  scope TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  revoked_at BIGINT
);

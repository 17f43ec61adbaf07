CREATE TABLE deliveries (
  id TEXT NOT NULL PRIMARY KEY,
  repository TEXT NOT NULL,
  event TEXT NOT NULL,
  payload TEXT NOT NULL,
  state TEXT NOT NULL,
  note TEXT NOT NULL,
  received_at BIGINT NOT NULL
);
CREATE INDEX deliveries_by_state ON deliveries (state, received_at);

CREATE TABLE posts (
  subject TEXT NOT NULL PRIMARY KEY,
  repository TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  version BIGINT NOT NULL,
  sent_version BIGINT NOT NULL,
  remote_id TEXT,
  tries BIGINT NOT NULL,
  error TEXT,
  changed_at BIGINT NOT NULL,
  next_at BIGINT NOT NULL
);
CREATE INDEX posts_by_repository ON posts (repository, next_at);

ALTER TABLE jobs ADD COLUMN environment TEXT;
ALTER TABLE jobs ADD COLUMN environment_url TEXT;

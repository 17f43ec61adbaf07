DROP TABLE posts;
DROP TABLE deliveries;
ALTER TABLE jobs DROP COLUMN environment;
ALTER TABLE jobs DROP COLUMN environment_url;

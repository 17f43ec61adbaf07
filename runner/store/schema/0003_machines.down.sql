DROP TABLE leases;
DROP INDEX runs_by_number;
DROP INDEX jobs_running;
DROP INDEX jobs_waiting;
CREATE INDEX jobs_by_status ON jobs (status, is_ready);
ALTER TABLE jobs DROP COLUMN losses;
ALTER TABLE jobs DROP COLUMN disconnected_at;
ALTER TABLE jobs DROP COLUMN began_at;

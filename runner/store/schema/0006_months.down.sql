DROP INDEX jobs_by_environment;
DROP TABLE notices;
DROP TABLE broken;
DROP TABLE schedules;

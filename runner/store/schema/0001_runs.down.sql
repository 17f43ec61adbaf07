DROP TABLE events;
DROP TABLE refs;
DROP TABLE jobs;
DROP TABLE runs;
DROP TABLE counters;

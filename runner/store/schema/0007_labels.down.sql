DROP INDEX jobs_waiting_by_labels;
DROP TABLE machines;

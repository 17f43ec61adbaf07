DROP TABLE delivery_marks;
ALTER TABLE jobs DROP COLUMN findings;
ALTER TABLE runs DROP COLUMN approved_by;
ALTER TABLE runs DROP COLUMN awaits_approval;

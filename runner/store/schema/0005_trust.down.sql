DROP TABLE tokens;
DROP TABLE secrets;

-- How often rows of a generation were put right (`verify --repair`, `replay --apply`): what a client has kept of an answer no
-- longer holds then, although no event has come since.
ALTER TABLE generations ADD COLUMN repairs bigint NOT NULL DEFAULT 0;

-- What operations need: generations beside the live one, pausing, decisions about dead letters, and an account of who did what.

-- building: a rebuild fills it; following: projectors keep it up to date; frozen: it shows the past and never moves.
ALTER TABLE generations ADD COLUMN state text NOT NULL DEFAULT 'following';
-- When readers last began to see it: rolling back goes to the one before.
ALTER TABLE generations ADD COLUMN activated_ms bigint;
-- Which version of the program began it: a rebuild is gone on with by the same version only.
ALTER TABLE generations ADD COLUMN made_with text NOT NULL DEFAULT '';
-- How it is made, JSON: standards and limits of time, where they are not the configured ones.
ALTER TABLE generations ADD COLUMN options text NOT NULL DEFAULT '{}';

-- The tables of each generation, so that any version can drop them.
CREATE TABLE view_tables (
    view text NOT NULL,
    generation bigint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (view, generation, name)
);
INSERT INTO view_tables (view, generation, name)
SELECT g.view, g.generation, t.name || '_g' || CAST(g.generation AS text)
FROM generations g
JOIN (
    SELECT 'timeline' AS view, 'timeline_entries' AS name
    UNION ALL SELECT 'timeline', 'patient_links'
    UNION ALL SELECT 'mot', 'mot_touchpoints'
    UNION ALL SELECT 'mot', 'mot_role_scores'
    UNION ALL SELECT 'mot', 'mot_journeys'
    UNION ALL SELECT 'mot', 'mot_alerts'
    UNION ALL SELECT 'mot', 'mot_links'
    UNION ALL SELECT 'mot', 'mot_staff_pulses'
    UNION ALL SELECT 'mot', 'mot_state'
    UNION ALL SELECT 'follow_ups', 'follow_up_items'
    UNION ALL SELECT 'follow_ups', 'follow_ups_state'
) t ON t.view = g.view;

-- A shape names the version of what makes the rows, since then. The timeline's rows are still the same; the states of the
-- other two views are not, so that they have to be rebuilt.
UPDATE generations SET shape = shape || '.1' WHERE view = 'timeline';

-- What a rebuild has to do, fixed when it begins, so that an interrupted one goes on where it was: records [0, to_offset) of
-- each partition, split by key into slices. A slice's rows are committed together with its done_ms.
CREATE TABLE rebuild_slices (
    view text NOT NULL,
    generation bigint NOT NULL,
    partition bigint NOT NULL,
    slice bigint NOT NULL,
    slices bigint NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    done_ms bigint,
    PRIMARY KEY (view, generation, partition, slice)
);

-- The last record that a checkpoint has behind it: content hash of the record at next_offset - 1 (0: none noted). A log that
-- has another one there is another log, or an older copy that went on differently.
ALTER TABLE checkpoints ADD COLUMN last_hash bigint NOT NULL DEFAULT 0;

-- Which source a dead letter came from, and what was decided about it: a discarded one is kept with its reason.
ALTER TABLE dead_letters ADD COLUMN source text;
ALTER TABLE dead_letters ADD COLUMN discarded_ms bigint;
ALTER TABLE dead_letters ADD COLUMN discard_reason text;
CREATE INDEX dead_letters_key ON dead_letters (view, generation, key_hash);

-- Views whose projectors rest.
CREATE TABLE paused (
    view text PRIMARY KEY,
    since_ms bigint NOT NULL
);

-- Who did what to the views, when, why, and with what result: rows are added, never changed. An operation has one row when it
-- begins and one when it ends.
CREATE TABLE operations (
    id text NOT NULL,
    phase text NOT NULL,
    at_ms bigint NOT NULL,
    operator text NOT NULL,
    operation text NOT NULL,
    view text,
    generation bigint,
    reason text,
    detail text NOT NULL,
    PRIMARY KEY (id, phase)
);
CREATE INDEX operations_at ON operations (at_ms, id);

-- Fixed tables of the spine. Once released this file is never edited: a change is a new file.
-- Both engines take it: bigint for integers and times, text, bytea.

-- Generations of each view; the reader's SQL views point at the active one.
CREATE TABLE generations (
    view text NOT NULL,
    generation bigint NOT NULL,
    active bigint NOT NULL,
    shape text NOT NULL,
    created_ms bigint NOT NULL,
    PRIMARY KEY (view, generation)
);

-- How far each partition of the log is in a generation, and how many of its keys are parked.
CREATE TABLE checkpoints (
    view text NOT NULL,
    generation bigint NOT NULL,
    partition bigint NOT NULL,
    next_offset bigint NOT NULL,
    appended_ms bigint NOT NULL,
    updated_at bigint NOT NULL,
    parked bigint NOT NULL,
    PRIMARY KEY (view, generation, partition)
);

-- Records that a view could not take, and records that wait behind one.
CREATE TABLE dead_letters (
    id text PRIMARY KEY,
    view text NOT NULL,
    generation bigint NOT NULL,
    partition bigint NOT NULL,
    log_offset bigint NOT NULL,
    event_type text,
    reason_code text NOT NULL,
    reason text NOT NULL,
    parked_behind bigint NOT NULL,
    key_hash text NOT NULL,
    record_key bytea NOT NULL,
    value bytea NOT NULL,
    headers text NOT NULL,
    appended_ms bigint NOT NULL,
    created_ms bigint NOT NULL
);
CREATE INDEX dead_letters_place ON dead_letters (view, generation, partition, log_offset);

-- Keys whose later records wait.
CREATE TABLE parked (
    view text NOT NULL,
    generation bigint NOT NULL,
    partition bigint NOT NULL,
    record_key bytea NOT NULL,
    dead_letter text NOT NULL,
    PRIMARY KEY (view, generation, partition, record_key)
);

-- Who works on which follow-up item: operational state, kept apart from the view, since no log brings it back.
CREATE TABLE follow_up_leases (
    item_id text PRIMARY KEY,
    holder text NOT NULL,
    token bigint NOT NULL,
    expires_at bigint NOT NULL
);

-- What was asked of the follow-up queue under an Idempotency-Key, so that a retry publishes the same event and gets the
-- same answer. Kept for a week. No patient data: a hash of the request, and the answer's ids and positions.
CREATE TABLE follow_up_requests (
    item_id text NOT NULL,
    request_key text NOT NULL,
    fingerprint text NOT NULL,
    at bigint NOT NULL,
    answer text,
    PRIMARY KEY (item_id, request_key)
);
CREATE INDEX follow_up_requests_at ON follow_up_requests (at);

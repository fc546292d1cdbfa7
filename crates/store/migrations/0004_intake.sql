-- What the gateways took and refused, by source and week: counts only, added up by every gateway process. Not made from the
-- log, since what is refused never comes there.
CREATE TABLE intake (
    source text NOT NULL,
    protocol text NOT NULL,
    -- Weeks since Monday, 1969-12-29.
    week bigint NOT NULL,
    -- accepted, duplicate, ignored or refused.
    result text NOT NULL,
    -- Why it was refused, a code; empty otherwise.
    reason text NOT NULL,
    messages bigint NOT NULL,
    PRIMARY KEY (source, protocol, week, result, reason)
);

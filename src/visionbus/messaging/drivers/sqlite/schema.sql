-- A topic is a log; a subscription is a position in it, and a claim for each message behind the position that is not acked.
-- A deep backlog costs nothing but its messages; a claim is written when a message is handed out and deleted when it is acked.

CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    next INTEGER NOT NULL           -- the number of the next message
);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY,         -- topic * 2^40 + number: each topic is one range of this one table
    key BLOB,                       -- UTF-8; a blob, because other buses' keys may be any bytes
    attributes TEXT,                -- a JSON object; NULL where there are none
    data BLOB NOT NULL,
    published REAL NOT NULL         -- seconds since the epoch
);

CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL REFERENCES topics,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,      -- the first message that was never claimed
    UNIQUE (topic, name)
);

CREATE TABLE receivers (
    id INTEGER PRIMARY KEY,         -- random
    subscription INTEGER NOT NULL REFERENCES subscriptions,
    expires REAL NOT NULL           -- monotonic seconds: one lease for all that the receiver holds
);

CREATE INDEX receivers_of ON receivers (subscription, expires);

CREATE TABLE claims (
    subscription INTEGER NOT NULL REFERENCES subscriptions,
    message INTEGER NOT NULL REFERENCES messages,
    receiver INTEGER,               -- NULL: it waits
    attempt INTEGER NOT NULL,
    due REAL NOT NULL,              -- monotonic seconds: while it waits, not handed out before
    key BLOB,
    PRIMARY KEY (subscription, message)
) WITHOUT ROWID;

CREATE INDEX waiting ON claims (subscription, due) WHERE receiver IS NULL;

CREATE TABLE clock (
    seen REAL NOT NULL              -- the latest monotonic time written: an earlier one means that the machine was restarted
);

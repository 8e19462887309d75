-- 2026-11-23  Sessions, their events, and what guards both: the tables of the SQLite log, for several writers.

create table store (
  instance text not null          -- names this installation; one row
);

-- Short names of sessions inside this database, never used again.
create sequence session_n;

create table session (
  n bigint primary key,
  id text not null unique,
  owner text not null,
  root text not null,
  epoch text not null,
  head bigint not null,
  head_tag text not null,
  title text not null,
  status text not null,
  run_id text,
  pinned boolean not null,
  archived boolean not null,
  created_at double precision not null,
  active_at double precision not null,
  last_active double precision not null,
  bytes bigint not null,
  meta text not null,
  stateful bigint not null,       -- seq of its last stateful event: who decided by an older one decides again
  claims bigint not null          -- how often a fence of it was claimed: what a node knows of its fences is true until this changes
) with (fillfactor = 60);
-- Its row is written with every commit: free space on the page, and no index on what changes, keep that in place (HOT).
create index session_owner on session (owner);
create index session_root on session (root);

-- The primary key is the one range that a session's tail is read from.
create table event (
  session bigint not null,        -- its n
  seq bigint not null,
  type text not null,
  run_id text,
  item_id text,
  parent_id text,
  key text,
  public boolean not null,
  stateful boolean not null,
  at double precision not null,
  tag text not null,
  content text not null,
  primary key (session, seq)
);

-- At most one event of a session has a key.
create unique index event_key on event (session, key) where key is not null;

-- What a session is loaded from: a few rows among thousands.
create index event_stateful on event (session, seq) where stateful;

create table command (
  owner text not null,
  id text not null,
  body text not null,
  session_id text not null,
  seq bigint not null,
  run_id text,
  primary key (owner, id)
);
create index command_session on command (session_id);

-- Who may write: the latest generation of each name. Changed only under the lock on its session's row, with `claims`.
create table fence (
  name text collate "C" primary key,
  generation bigint not null
);

create table tombstone (
  id text primary key,
  owner text not null,
  reason text not null,
  at double precision not null
);

-- Sessions whose row is gone and whose events are being deleted, a piece at a time.
create table trash (
  n bigint primary key
);

create table value (
  name text collate "C" primary key,
  value text not null
);

-- Which processes use this database, and which code bases each has. One that was not seen for a while is gone.
create table node (
  id text primary key,
  name text not null,
  roots text[] not null,
  seen timestamptz not null
);

-- File contents that sessions need, where any node finds them, under git's blob id; compressed by the node that wrote them.
create table content (
  hash text primary key,
  data bytea not null,
  put timestamptz not null default now()
);
alter table content alter column data set storage external;

-- 2026-11-22  Sessions, their events, and what guards both.

-- What is known of a session without reading its log; written in the same transactions as its events.
create table session (
  n integer primary key,          -- its short name inside this file, never used again
  id text not null unique,
  owner text not null,
  root text not null,
  epoch text not null,
  head integer not null,
  head_tag text not null,
  title text not null,
  status text not null,
  run_id text,
  pinned integer not null,
  archived integer not null,
  created_at real not null,
  active_at real not null,
  last_active real not null,
  bytes integer not null,
  meta text not null
) strict;

-- One b-tree, ordered by session and seq: a session's events lie side by side, and no second index is written for each of them.
-- Content is last, so that a scan by the other columns never touches the overflow pages of large ones.
create table event (
  place integer primary key,      -- n << 32 | seq
  session integer generated always as (place >> 32) virtual,
  seq integer generated always as (place & 4294967295) virtual,
  type text not null,
  run_id text,
  item_id text,
  parent_id text,
  key text,
  public integer not null,
  stateful integer not null,
  at real not null,
  tag text not null,
  content text not null
) strict;

-- At most one event of a session has a key.
create unique index event_key on event (session, key) where key is not null;

-- Which client commands were done. They outlive their session: a repetition must be known for as long as its tombstone.
create table command (
  owner text not null,
  id text not null,
  body text not null,
  session_id text not null,
  seq integer not null,
  run_id text,
  primary key (owner, id)
) strict, without rowid;

create index command_session on command (session_id);

-- Who may write: the latest generation of each name.
create table fence (
  name text primary key,
  generation integer not null
) strict, without rowid;

create table tombstone (
  id text primary key,
  owner text not null,
  reason text not null,
  at real not null
) strict, without rowid;

-- Sessions whose row is gone and whose events are being deleted, a piece at a time.
create table trash (
  n integer primary key
) strict;

-- The small store beside the sessions.
create table value (
  name text primary key,
  value text not null
) strict, without rowid;

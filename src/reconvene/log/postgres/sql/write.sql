-- What a commit runs, in the order of this file. Rows come as one array a column.

-- name: lock_sessions
-- Everything below holds only while these rows are locked; in one order, so that two nodes never wait for each other.
select n, id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta, stateful, claims
from session where id = any($1::text[])
order by id
for no key update;

-- name: find_commands
select c.owner, c.id, c.body, c.session_id, c.seq, c.run_id
from unnest($1::text[], $2::text[]) wanted (owner, id)
join command c on c.owner = wanted.owner and c.id = wanted.id;

-- name: find_keys
select e.session, e.key, e.seq, e.run_id
from unnest($1::bigint[], $2::text[]) wanted (session, key)
join event e on e.session = wanted.session and e.key = wanted.key;

-- name: find_fences
select name, generation from fence where name = any($1::text[]);

-- name: find_tombstones
select id from tombstone where id = any($1::text[]);

-- name: next_ns
select nextval('session_n') from generate_series(1, $1::int);

-- name: missed_rows
-- What others wrote to sessions that are followed here.
select e.session, e.seq, e.type, e.run_id, e.item_id, e.parent_id, e.key, e.public, e.stateful, e.at, e.tag, e.content
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) wanted (session, after, upto)
join event e on e.session = wanted.session and e.seq > wanted.after and e.seq <= wanted.upto
order by e.session, e.seq;

-- name: put_sessions
insert into session (n, id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta, stateful, claims)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
  $11::boolean[], $12::boolean[], $13::double precision[], $14::double precision[], $15::double precision[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[]);

-- name: put_events
-- The hot path: events, their sessions' rows and the wake-up of the other nodes in one round trip.
with moved as (
  update session s
  set head = u.head, head_tag = u.head_tag, title = u.title, status = u.status, run_id = u.run_id, pinned = u.pinned, archived = u.archived,
    active_at = u.active_at, last_active = u.last_active, bytes = u.bytes, meta = u.meta, stateful = u.stateful, claims = u.claims
  from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::boolean[],
    $9::double precision[], $10::double precision[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[])
    u (n, head, head_tag, title, status, run_id, pinned, archived, active_at, last_active, bytes, meta, stateful, claims)
  where s.n = u.n
), written as (
  insert into event (session, seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
  select * from unnest($15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::boolean[],
    $23::boolean[], $24::double precision[], $25::text[], $26::text[])
)
select pg_notify($27, payload), pg_current_xact_id()::xid::text from unnest($28::text[]) payload;

-- name: put_events_at_once
-- The hot path: the same as a transaction of its own, for sessions of which this node wrote the last version ($29) and has it in memory.
-- When any of the rows is another version by now, it divides by zero, and nothing is written.
with moved as (
  update session s
  set head = u.head, head_tag = u.head_tag, title = u.title, status = u.status, run_id = u.run_id, pinned = u.pinned, archived = u.archived,
    active_at = u.active_at, last_active = u.last_active, bytes = u.bytes, meta = u.meta, stateful = u.stateful, claims = u.claims
  from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::boolean[],
    $9::double precision[], $10::double precision[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[], $29::text[])
    u (n, head, head_tag, title, status, run_id, pinned, archived, active_at, last_active, bytes, meta, stateful, claims, version)
  where s.n = u.n and s.xmin::text = u.version
  returning 1
), written as (
  insert into event (session, seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
  select * from unnest($15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::boolean[],
    $23::boolean[], $24::double precision[], $25::text[], $26::text[])
)
select pg_notify($27, payload), pg_current_xact_id()::xid::text, 1 / (select count(*) = cardinality($1) from moved)::int
from unnest($28::text[]) payload;

-- name: put_event_at_once
-- One event of one session, which is what a run that streams commits most: the same without arrays, as each costs more to send and to take
-- apart than what is in it.
with moved as (
  update session
  set head = $2, head_tag = $3, title = $4, status = $5, run_id = $6, pinned = $7, archived = $8, active_at = $9, last_active = $10,
    bytes = $11, meta = $12, stateful = $13, claims = $14
  where n = $1 and xmin::text = $15
  returning 1
), written as (
  insert into event (session, seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
  values ($1, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
)
select pg_notify($27, $28), pg_current_xact_id()::xid::text, 1 / (select count(*) from moved)::int;

-- name: put_commands
insert into command (owner, id, body, session_id, seq, run_id)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[]);

-- name: put_fences
insert into fence (name, generation) select * from unnest($1::text[], $2::bigint[])
on conflict (name) do update set generation = excluded.generation;

-- name: put_value
insert into value (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value;

-- name: drop_value
delete from value where name = $1;

-- name: notify
select pg_notify($1, $2);

-- name: is_written
-- Whether event $2 of session $1 is the one with tag $3. Waits for whoever holds the session: the commit that is asked about, if it is
-- still under way.
select exists (select from event where session = $1 and seq = $2 and tag = $3) from session where n = $1 for no key update;

-- name: copy_events
insert into event (session, seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
select $2, seq, type, run_id, item_id, parent_id, key, public, stateful, at, lpad(to_hex((random() * 4294967295)::bigint), 8, '0'), content
from event where session = $1 and seq <= $3;

-- name: copied
select
  (select tag from event where session = $1 and seq = $2),
  coalesce(sum(octet_length(content)), 0)::bigint,
  coalesce(max(seq) filter (where stateful), 0)::bigint
from event where session = $1 and seq <= $2;

-- name: drop_session
delete from session where n = $1;

-- name: drop_fences
-- Fences are named after the session: its id, then whatever the owner of the run added.
delete from fence where name >= $1 and name < $1 || chr(1114111);

-- name: put_tombstone
insert into tombstone (id, owner, reason, at) values ($1, $2, $3, $4)
on conflict (id) do update set owner = excluded.owner, reason = excluded.reason, at = excluded.at;

-- name: put_trash
insert into trash (n) values ($1) on conflict do nothing;

-- name: next_trash
select n from trash order by n limit 1 for update skip locked;

-- name: drop_events
-- A piece of a session that is being deleted.
with dropped as (
  delete from event where session = $1 and seq in (select seq from event where session = $1 order by seq limit $2) returning 1
)
select count(*) from dropped;

-- name: drop_trash
delete from trash where n = $1;

-- name: purge_commands
delete from command where session_id in (select id from tombstone where at < $1);

-- name: purge_tombstones
with purged as (delete from tombstone where at < $1 returning 1) select count(*) from purged;

-- name: put_contents
insert into content (hash, data) select * from unnest($1::text[], $2::bytea[]) on conflict (hash) do update set put = now();

-- name: drop_contents
delete from content where put < now() - interval '1 day' and hash <> all($1::text[]);

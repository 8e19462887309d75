-- What the writer runs, inside its transactions. `values (…)` at the end of a statement is repeated for several rows at once.

-- name: begin
begin immediate;

-- name: commit
commit;

-- name: rollback
rollback;

-- name: find_sessions
-- Rows of session by id; the ids come as one JSON array.
select s.* from json_each(?1) wanted join session s on s.id = wanted.value;

-- name: find_commands
-- By (owner, id) pairs, as a JSON array of arrays.
select c.owner, c.id, c.body, c.session_id, c.seq, c.run_id
from json_each(?1) wanted
join command c on c.owner = wanted.value ->> 0 and c.id = wanted.value ->> 1;

-- name: find_keys
-- By (n, key) pairs, as a JSON array of arrays.
select e.session, e.key, e.seq, e.run_id
from json_each(?1) wanted
join event e on e.session = wanted.value ->> 0 and e.key = wanted.value ->> 1 and e.key is not null;

-- name: find_fences
select f.name, f.generation from json_each(?1) wanted join fence f on f.name = wanted.value;

-- name: find_tombstone
select id from tombstone where id = ?1;

-- name: last_session
-- The highest n that was ever used and may still have events.
select max((select coalesce(max(n), 0) from session), (select coalesce(max(n), 0) from trash));

-- name: put_events
insert into event (place, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_sessions
insert or replace into session (n, id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_commands
insert into command (owner, id, body, session_id, seq, run_id)
values (?, ?, ?, ?, ?, ?);

-- name: put_fences
insert or replace into fence (name, generation)
values (?, ?);

-- name: put_value
insert or replace into value (name, value) values (?1, ?2);

-- name: drop_value
delete from value where name = ?1;

-- name: get_value
select value from value where name = ?1;

-- name: event_at
-- Whether event ?2 of session ?1 is the one with tag ?3.
select 1 from event where place = (?1 << 32 | ?2) and tag = ?3;

-- name: copy_events
-- Events up to ?3 of session ?1 to session ?2, with new tags: the copy is another log, and its cursors are its own.
insert into event (place, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
select (?2 << 32) | seq, type, run_id, item_id, parent_id, key, public, stateful, at, lower(hex(randomblob(4))), content
from event where place > ?1 << 32 and place <= (?1 << 32 | ?3);

-- name: copied
-- Tag of the last, and bytes of all, events of session ?1 up to ?2.
select (select tag from event where place = (?1 << 32 | ?2)), coalesce(sum(octet_length(content)), 0)
from event where place > ?1 << 32 and place <= (?1 << 32 | ?2);

-- name: drop_session
delete from session where n = ?1;

-- name: drop_fences
-- Fences are named after the session: its id, then whatever the owner of the run added.
delete from fence where name >= ?1 and name < ?1 || char(1114111);

-- name: put_tombstone
insert or replace into tombstone (id, owner, reason, at) values (?1, ?2, ?3, ?4);

-- name: put_trash
insert into trash (n) values (?1);

-- name: next_trash
select n from trash order by n limit 1;

-- name: drop_events
-- A piece of a session that is being deleted.
delete from event where place in (select place from event where place > ?1 << 32 and place < (?1 + 1) << 32 limit ?2);

-- name: drop_trash
delete from trash where n = ?1;

-- name: purge_commands
delete from command where session_id in (select id from tombstone where at < ?1);

-- name: purge_tombstones
delete from tombstone where at < ?1;

-- name: torn_session
-- A session whose last event is not the one its row names, among those that were active last.
select s.id from (select * from session order by last_active desc limit 1000) s
left join event e on e.place = (s.n << 32 | s.head)
where s.head > 0 and e.tag is not s.head_tag
limit 1;

-- name: new_epochs
-- After a restore: every session is another log, for clients that know more than the backup.
update session set epoch = lower(hex(randomblob(6)));

-- What is asked outside of commits. Filters that are null do not filter.

-- name: read_events
-- Events of session $1 after $2, in order. Of $8 bytes, the row that crosses them is left out unless it is the first.
select seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content
from event
where session = (select n from session where id = $1) and seq > $2 and seq <= $3
  and ($4::boolean is null or public = $4)
  and ($5::boolean is null or stateful = $5)
  and ($6::text is null or run_id = $6)
  and ($7::text[] is null or type = any($7))
order by seq
limit $8;

-- name: read_stateful
-- The same of what a session is loaded from.
select seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content
from event
where session = (select n from session where id = $1) and seq > $2 and seq <= $3 and stateful
order by seq;

-- name: read_sized
-- The same with a bound on bytes ($9).
with found as (
  select seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content,
    sum(octet_length(content)) over (order by seq rows unbounded preceding) as total
  from (
    select * from event
    where session = (select n from session where id = $1) and seq > $2 and seq <= $3
      and ($4::boolean is null or public = $4)
      and ($5::boolean is null or stateful = $5)
      and ($6::text is null or run_id = $6)
      and ($7::text[] is null or type = any($7))
    order by seq
    limit $8
  ) fitting
)
select seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content
from found
where total <= $9 or total = octet_length(content)
order by seq;

-- name: missed
select count(*), coalesce(sum(octet_length(content)), 0)::bigint
from event
where session = (select n from session where id = $1) and seq > $2 and public;

-- name: tag
select tag from event where session = (select n from session where id = $1) and seq = $2;

-- name: by_key
select seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content
from event where session = (select n from session where id = $1) and key = $2;

-- name: command
select session_id, seq, run_id, body from command where owner = $1 and id = $2;

-- name: session
select id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta
from session where id = $1;

-- name: tombstone
select id, owner, reason, at from tombstone where id = $1;

-- name: sessions
select id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta
from session
where ($1::text is null or owner = $1)
  and ($2::text[] is null or status = any($2))
  and ($3::boolean is null or archived = $3)
order by last_active desc, n desc
limit $4;

-- name: get
select value from value where name = $1;

-- name: scan
select name, value from value where starts_with(name, $1);

-- name: size
-- What the sessions hold, with about 150 bytes for what an event has beside its content: PostgreSQL gives space back when it likes.
select coalesce(sum(bytes + 150 * head), 0)::bigint from session;

-- name: heads
-- How far the sessions that are followed have come.
select id, head from session where id = any($1::text[]);

-- name: gone
select t.id, t.reason from tombstone t where t.id = any($1::text[]);

-- name: news
-- Rows of followed sessions ($1) after what is known of each ($2).
select s.id, e.seq, e.type, e.run_id, e.item_id, e.parent_id, e.key, e.public, e.stateful, e.at, e.tag, e.content
from unnest($1::text[], $2::bigint[]) wanted (id, known)
join session s on s.id = wanted.id
join event e on e.session = s.n and e.seq > wanted.known
order by s.id, e.seq
limit $3;

-- name: contents
select hash, data from content where hash = any($1::text[]);

-- name: contents_there
select hash from content where hash = any($1::text[]);

-- name: not_there
-- Which of these sessions ($1) lack an event that they had ($2, with its tag $3), and were not deleted.
select had.id
from unnest($1::text[], $2::bigint[], $3::text[]) had (id, seq, tag)
left join session s on s.id = had.id
where not exists (select from event e where e.session = s.n and e.seq = had.seq and e.tag = had.tag)
  and not exists (select from tombstone t where t.id = had.id);

-- What the readers run. Each answers with one row of JSON: SQLite releases the interpreter's lock between rows, and taking it back
-- from a busy event loop costs up to 5 ms each time (measured: 100 rows in 57 ms row by row, in 9 ms as one).

-- name: read_events
-- Events of session :id after :after, in order. Filters that are null do not filter. Of :max_bytes, the row that crosses it is left
-- out unless it is the first; how far that is, the sizes say, which are known without reading the contents.
select json_group_array(json_array(seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content) order by place)
from (
  select place, seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content
  from event
  where place > ((select n from session where id = :id) << 32 | :after)
    and place <= ((select n from session where id = :id) << 32 | :upto)
    and (:public is null or public = :public)
    and (:stateful is null or stateful = :stateful)
    and (:run_id is null or run_id = :run_id)
    and (:types is null or type in (select value from json_each(:types)))
    and (:max_bytes is null or place <= (
      select max(place)
      from (
        select place, size, sum(size) over (order by place rows unbounded preceding) as total
        from (
          select place, octet_length(content) as size
          from event
          where place > ((select n from session where id = :id) << 32 | :after)
            and place <= ((select n from session where id = :id) << 32 | :upto)
            and (:public is null or public = :public)
            and (:stateful is null or stateful = :stateful)
            and (:run_id is null or run_id = :run_id)
            and (:types is null or type in (select value from json_each(:types)))
          order by place
          limit :max_events
        )
      )
      where total <= :max_bytes or total = size
    ))
  order by place
  limit :max_events
);

-- name: missed
select json_array(count(*), coalesce(sum(octet_length(content)), 0))
from event
where place > ((select n from session where id = :id) << 32 | :after)
  and place < ((select n from session where id = :id) + 1) << 32
  and public;

-- name: tag
select json_array(tag) from event where place = ((select n from session where id = :id) << 32 | :seq);

-- name: by_key
select json_array(seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content)
from event where session = (select n from session where id = :id) and key = :key and key is not null;

-- name: command
select json_array(session_id, seq, run_id, body) from command where owner = :owner and id = :id;

-- name: session
select json_array(id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta)
from session where id = :id;

-- name: tombstone
select json_array(id, owner, reason, at) from tombstone where id = :id;

-- name: sessions
select json_group_array(
  json_array(id, owner, root, epoch, head, head_tag, title, status, run_id, pinned, archived, created_at, active_at, last_active, bytes, meta)
  order by last_active desc, n desc
)
from (
  select * from session
  where (:owner is null or owner = :owner)
    and (:archived is null or archived = :archived)
    and (:statuses is null or status in (select value from json_each(:statuses)))
  order by last_active desc, n desc
  limit :limit
);

-- name: get
select json_array(value) from value where name = :name;

-- name: scan
select json_group_object(name, value) from value where substr(name, 1, length(:prefix)) = :prefix;

-- name: size
-- Bytes of the pages in use; free pages are reused before the file grows.
select json_array((page_count - freelist_count) * page_size) from pragma_page_count, pragma_freelist_count, pragma_page_size;

-- One index of one root. Everything here can be built again from the files, so a file that cannot be used is thrown away.

create table meta (name text primary key, value) without rowid;

-- What was found in a content, whatever files have it. id: git's blob id.
create table blob (
    number      integer primary key,
    id          blob not null,
    language    text not null,
    state       text not null,     -- indexed, minified, binary, or poison: <reason>
    lines       integer not null,
    symbols     integer not null,
    definitions blob not null,
    postings    blob not null,
    unique (id, language)
);

-- How a content is made, as its language's grammar has it, for what was shown or read. mark: what made it, see `syntax.reader.mark`.
create table structure (
    id          blob not null,
    language    text not null,
    mark        text not null,
    state       text not null,     -- exact, minified, or poison: <reason>
    definitions blob not null,
    quoted      blob not null,
    unique (id, language)
);

-- The files as they were when last looked at. blob: null when only the path is known; state says why.
create table file (
    path     blob primary key,
    blob     blob,
    state    text not null,
    mtime_ns integer not null,
    size     integer not null,
    ino      integer not null,
    seen_ns  integer not null      -- when it was read, for files that changed in the same moment
) without rowid;

-- What changed, epoch by epoch. old, new: blob ids; null: no such file; empty: only its path is known.
create table change (
    epoch integer not null,
    path  blob not null,
    old   blob,
    new   blob,
    primary key (epoch, path)
) without rowid;

-- Texts that were made from the index at an epoch, and hold as long as it does: the overview map.
create table note (
    name  text primary key,
    epoch integer not null,
    value text not null
) without rowid;

-- What is kept of a commit of the repository, by its id.
create table told (
    id    blob primary key,
    value blob not null
) without rowid;

-- What all commits together say, as it is loaded; mark names those commits. One row at most.
create table history (
    mark  text primary key,
    value blob not null
) without rowid;

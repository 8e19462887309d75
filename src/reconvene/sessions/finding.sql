-- What sessions say, to be found by its words. Everything here can be made again from the log, so a file that cannot be used is thrown away.

-- n: its short name in here. upto: the last seq that was taken in.
create table session (
  n     integer primary key,
  id    text not null unique,
  epoch text not null,
  upto  integer not null,
  title text not null
) strict;

-- rowid: n << 32 | seq; seq 0 is the title. pieces: the words inside of names, so that SessionStore is found by "store".
create virtual table said using fts5(body, pieces, kind unindexed, at unindexed, tokenize = "unicode61 remove_diacritics 2");

-- Deleted text is overwritten, not only unlinked.
insert into said(said, rank) values ('secure-delete', 1);

-- Tell how long an entry has been on its stream, by the server's clock alone.
-- KEYS: stream   ARGV: entry
-- Returns milliseconds
return now_ms() - tonumber(string.match(ARGV[1], '^(%d+)'))

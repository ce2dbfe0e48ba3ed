-- Returns a session, its tombstone or false.
return read(ARGV[1], ARGV[2])

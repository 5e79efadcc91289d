//! The intake plane: admin API, library upkeep, logs; everything that may wait for a disk.

"""The basis of every room: errors, files, locks, paths, the terminal, processes, memory."""

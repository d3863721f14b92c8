"""What every part uses: errors, files, locks, paths, the terminal, processes, memory."""

"""Looking at trajectories: drawn in a terminal, paged through, or as one HTML page; with `cli`, the home of rich."""

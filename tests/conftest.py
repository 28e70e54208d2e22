"""Nothing here has a side effect: each folder of tests brings its own fixtures."""

"""Is a recording fit to train on? What its images say about its poses and its camera."""

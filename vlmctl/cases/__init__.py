"""The labelled set that the project makes itself: pictures drawn from a seed, whose truth is known exactly."""

"""`armlite serve`: a judge for many clients at once, over HTTP. One engine plays what all of them ask."""

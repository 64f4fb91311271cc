"""What is inside a box: boxrun, and squid's configuration beside it."""

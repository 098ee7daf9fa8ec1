"""Programs that the benchmarks run in other processes: our function, measured, and an endpoint."""

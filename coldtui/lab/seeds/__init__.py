"""The objects of a simulated site, made by pure functions: the same site for the embedded server and for a real one."""
